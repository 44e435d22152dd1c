"""OpenAI's APIs as Ollama serves them: chat, completions, responses.  Read `routes` first."""
