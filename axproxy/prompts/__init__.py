"""Conversation to prompt: the chat template, control tokens kept out, the context window kept.

Not about counting or encoding tokens, which is the tokenizer's (`tokenizer`).
Read `renderer` first, then `template` (the model's Jinja template) and `fitting` (what is dropped
when a conversation is too long).
"""
