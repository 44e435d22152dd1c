"""OpenAI's APIs as Ollama serves them: chat, completions, responses, models.

`requests` and `replies` turn bytes into neutral messages and back; those of `/v1/responses` have
files of their own.  They use Ollama's options and messages, and know no socket and no Flask.  Read
`routes` first.
"""
