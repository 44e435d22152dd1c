"""python lite-llm.py URL"""

import sys

import litellm

asked = [{"role": "user", "content": "Why is the sky blue?"}]
for model in ("ollama_chat/mock", "ollama/mock"):
    call = {"model": model, "messages": asked, "api_base": sys.argv[1]}
    assert "sky blue" in litellm.completion(**call).choices[0].message.content
    chunks = litellm.completion(**call, stream=True)
    assert "sky blue" in "".join(chunk.choices[0].delta.content or "" for chunk in chunks)
