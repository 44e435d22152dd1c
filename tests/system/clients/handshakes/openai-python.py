"""python openai-python.py URL"""

import sys

import openai

client = openai.OpenAI(base_url=f"{sys.argv[1]}/v1", api_key="ollama")
asked = [{"role": "user", "content": "Why is the sky blue?"}]
list(client.models.list())
client.models.retrieve("mock")
client.chat.completions.create(model="mock", messages=asked)
usage = {"include_usage": True}
list(
    client.chat.completions.create(model="mock", messages=asked, stream=True, stream_options=usage)
)
client.completions.create(model="mock", prompt="Hello", max_tokens=9)
