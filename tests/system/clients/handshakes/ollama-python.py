"""python ollama-python.py URL"""

import sys

import ollama

client = ollama.Client(host=sys.argv[1])
asked = [{"role": "user", "content": "Why is the sky blue?"}]
client.list()
client.show("mock")
client.generate("mock", keep_alive=-1)
client.ps()
client.chat("mock", asked)
list(client.chat("mock", asked, stream=True))
list(client.generate("mock", "Hello", stream=True, options={"num_predict": 9}))
client.pull("mock")
