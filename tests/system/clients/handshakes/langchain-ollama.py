"""python langchain-ollama.py URL"""

import sys

from langchain_ollama import ChatOllama, OllamaLLM

model = ChatOllama(model="mock", base_url=sys.argv[1], validate_model_on_init=True, temperature=0)
model.invoke([("system", "Be brief."), ("human", "Why is the sky blue?")])
OllamaLLM(model="mock", base_url=sys.argv[1]).invoke("Hello")
