"""python llama-index.py URL"""

import sys

from llama_index.core.llms import ChatMessage
from llama_index.llms.ollama import Ollama

model = Ollama(model="mock", base_url=sys.argv[1])
assert "sky blue" in model.chat([ChatMessage("Why is the sky blue?")]).message.content
*_, last = model.stream_chat([ChatMessage("Why is the sky blue?")])
assert "sky blue" in last.message.content
assert "Hello" in model.complete("Hello").text
