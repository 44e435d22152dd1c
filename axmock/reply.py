"""What the simulated model answers, and with which token ids.

This is no part of the vendor's protocol.  A real model knows its vocabulary.  The simulator asks
the tokenizer server for the ids of its reply with one extra request, `POST /tokenize`, which has no
side effects.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from axmock import http_client, json_values
from axmock.crash import CppException
from axmock.http_client import Address, NoReply

NONSENSE = 33  # the token that the head makes of a zero or half-finished embedding

# The mark inside control tokens that a user typed; our tokenizer reads such a token as text.
_ESCAPE = "\ufdd0"
_LAST_USER_TURN = re.compile(r".*<\|im_start\|>user\n(.*?)<\|im_end\|>", re.DOTALL)


def last_user_message(prompt: str) -> str:
    """Return the last user turn of a ChatML prompt, otherwise the whole prompt."""
    found = _LAST_USER_TURN.match(prompt)
    return found[1] if found else prompt


def default_answer(prompt: str) -> str:
    """Return the answer that shows what reached the model: the last message, word for word."""
    return f"I am a simulated model, no card is involved. You said: {last_user_message(prompt)}"


@dataclass(frozen=True)
class ReplyScript:
    """Makes replies: a fixed text, a file read for each reply, or the default answer."""

    text: str | None = None
    file: Path | None = None

    def answer(self, prompt: str) -> str:
        """Return the reply to `prompt`."""
        if self.file is not None:
            return self.file.read_text(encoding="utf-8", errors="replace")
        return default_answer(prompt) if self.text is None else self.text

    def tokens(self, prompt: str, address: Address) -> list[int]:
        """Return the reply's token ids, or its bytes if the tokenizer has no /tokenize."""
        text = self.answer(prompt)
        try:
            reply = http_client.post(address, "/tokenize", json_values.dump({"text": text}))
            answer = json_values.parse_or_throw(reply.body)
            if reply.status == 200:
                return json_values.as_ints(json_values.member(answer, "token_ids"))
        except (NoReply, CppException):
            pass
        return list(text.replace(_ESCAPE, "").encode())
