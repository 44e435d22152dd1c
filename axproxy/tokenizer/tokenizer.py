"""Reads a model's tokenizer; turns text into token ids, and ids into text."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from functools import cached_property
from itertools import chain, groupby
from pathlib import Path
from typing import Any

from tokenizers import AddedToken, Tokenizer

from axproxy.control_tokens import ControlToken, Escaper
from axproxy.models.tokenizer_files import (
    TokenizerFiles,
    TokenizerFolderError,
    read_tokenizer_files,
)
from axproxy.tokenizer.detokenizer import (
    IncrementalDetokenizer,
    UnknownDecoder,
    byte_level,
    spelling,
)
from axproxy.tokenizer.pieces import PieceEncoder

# Names and forms of tokens that structure a conversation, in models that do not mark them special.
_STRUCTURE = re.compile(
    r"<[|\uff5c].*[|\uff5c]>|</?(?:s|bos|eos|pad|unk|think|tool_call|tool_response)>", re.DOTALL
)

# The end of a turn for folders that do not name it: the first of these in the vocabulary.
USUAL_EOS = ("<|im_end|>", "<|eot_id|>", "<end_of_turn>", "<|end|>", "</s>", "<|endoftext|>")


class TextTokenizer:
    """The tokenizer of one folder.  Safe to use from several threads."""

    def __init__(self, content: TokenizerFiles) -> None:
        """Raises `TokenizerFolderError`; its message says what is wrong and what to do."""
        path, folder = content.vocabulary, content.vocabulary.parent
        try:
            self._tokenizer = Tokenizer.from_file(str(path))
        except Exception as error:  # the library raises the bare class
            raise TokenizerFolderError(
                f"{path} is not a tokenizer ({error}); fetch it again"
            ) from error
        decoder = self._tokenizer.decoder
        try:
            self._spelling, self._drops_first_space = spelling(
                None if decoder is None else json.loads(decoder.__getstate__())
            )
        except UnknownDecoder as error:
            raise TokenizerFolderError(
                f"the tokenizer in {folder} turns tokens to text in an unsupported way ({error}); "
                "use a model with a byte-level or SentencePiece vocabulary"
            ) from error
        self._chat_template = content.chat_template
        self._bos = content.bos_token
        self._eos = content.eos_token or self._usual_eos()
        if self._eos is None or self._tokenizer.token_to_id(self._eos) is None:
            raise TokenizerFolderError(
                f"the tokenizer in {folder} has no end-of-turn token ({self._eos}); "
                "name one of its tokens as eos_token in tokenizer_config.json"
            )
        self._folder = folder.resolve()
        self._tokenizer.no_truncation()
        self._tokenizer.no_padding()
        self._match_control_tokens_literally()
        added = self._tokenizer.get_added_tokens_decoder()
        self._added = {id_: self._added_bytes(token) for id_, token in added.items()}
        self._pieces = PieceEncoder(self._tokenizer, self._added.__contains__)
        self.control_tokens = tuple(
            ControlToken(id_, token.content, token.special)
            for id_, token in sorted(added.items(), key=lambda item: item[0])
            if self._is_control(token)
        )

    @classmethod
    def load(cls, folder: Path) -> TextTokenizer:
        """Read any Hugging Face folder that has a tokenizer.json.

        Raises `TokenizerFolderError`; its message says what is wrong and what to do.
        """
        return cls(read_tokenizer_files(folder))

    def encode(self, text: str) -> list[int]:
        """Return the ids of the text, with nothing added.

        Control tokens in the text are live.  It is split at each `ESCAPE`, which is dropped; a lone
        surrogate becomes U+FFFD.  Raises `Untokenizable`.
        """
        return [id_ for ids in self._pieces.encode(text) for id_ in ids]

    def count(self, text: str) -> int:
        """Return how many ids `encode` returns.  Raises `Untokenizable`."""
        return sum(len(ids) for ids in self._pieces.encode(text))

    def decode(self, ids: Iterable[int]) -> str:
        """Return the text of the ids.

        A control token is its own text, an unknown id is no text, and bytes that are not UTF-8
        become U+FFFD.
        """
        detokenizer = self.detokenizer()
        return "".join(detokenizer.feed(ids)) + detokenizer.finish()

    def spell(self, ids: Iterable[int]) -> str:
        """Return a text that encodes to the ids again, or to others for the same characters.

        Text that only looks like a control token is escaped.
        """
        control = {token.id for token in self.control_tokens}
        runs = groupby(ids, key=control.__contains__)
        return "".join(
            self.decode(run) if live else self._escape(self.decode(run)) for live, run in runs
        )

    def detokenizer(self) -> IncrementalDetokenizer:
        """Return a detokenizer for ids that arrive one by one."""
        return IncrementalDetokenizer(self.bytes_of, drops_first_space=self._drops_first_space)

    def bytes_of(self, token_id: int) -> bytes:
        """Return the bytes that a token adds to the text; none for an unknown id."""
        added = self._added.get(token_id)
        if added is not None:
            return added
        token = self._tokenizer.id_to_token(token_id) if 0 <= token_id < 1 << 32 else None
        return b"" if token is None else self._spelling(token)

    @cached_property
    def _escape(self) -> Escaper:
        return Escaper(token.text for token in self.control_tokens)

    @property
    def eos_id(self) -> int:
        """The id of the token that ends a turn."""
        return self._id_of(self._eos)

    @property
    def bos_id(self) -> int:
        """The id of the token that begins a text; -1, as for the vendor's script, without one."""
        return self._id_of(self._bos)

    @cached_property
    def longest_token_bytes(self) -> int:
        """The bytes of the longest token.

        A text of n bytes has at least n / this many tokens, unless the model's normaliser makes it
        shorter.
        """
        ids = range(self._tokenizer.get_vocab_size(with_added_tokens=True))
        return max(len(self.bytes_of(id_)) for id_ in chain(ids, self._added))

    def info(self) -> dict[str, Any]:
        """Return the facts that the service needs about the tokenizer, ready for JSON."""
        return {
            "eos_id": self.eos_id,
            "eos_token": self._eos,
            "bos_id": self.bos_id,
            "bos_token": self._bos,
            "chat_template": self._chat_template,
            "folder": str(self._folder),
            "vocab_size": self._tokenizer.get_vocab_size(with_added_tokens=True),
            "longest_token_bytes": self.longest_token_bytes,
            "control_tokens": [
                {"id": token.id, "text": token.text, "special": token.special}
                for token in self.control_tokens
            ],
        }

    def _match_control_tokens_literally(self) -> None:
        # The library looks for a token marked `normalized` in the normalised text, in which other
        # characters (NFKC: full-width letters) have become it.  Only a literal match may be one.
        if self._tokenizer.normalizer is None:
            return
        literal = [
            AddedToken(
                token.content,
                single_word=token.single_word,
                lstrip=token.lstrip,
                rstrip=token.rstrip,
                normalized=False,
                special=token.special,
            )
            for token in self._tokenizer.get_added_tokens_decoder().values()
            if token.normalized and self._is_control(token)
        ]
        if literal:  # in one call, because each builds the search for all tokens anew
            self._tokenizer.add_tokens(literal)

    def _is_control(self, token: AddedToken) -> bool:
        """Return whether the token structures a conversation.

        Other added tokens, such as `<b>` or a run of blanks, are words of the vocabulary: text that
        has them is encoded with them.
        """
        text = token.content
        if token.special or text in (self._bos, self._eos):
            return True
        if len(text) < 2 or not text.replace("\u2581", "").strip():
            return False
        return bool(_STRUCTURE.fullmatch(text)) or text in (self._chat_template or "")

    def _added_bytes(self, token: AddedToken) -> bytes:
        # The library's decoder treats words that were added as it treats the others.
        if self._spelling is byte_level or self._is_control(token):
            return token.content.encode()
        return self._spelling(token.content)

    def _usual_eos(self) -> str | None:
        known = (token for token in USUAL_EOS if self._tokenizer.token_to_id(token) is not None)
        return next(known, None)

    def _id_of(self, token: str | None) -> int:
        found = None if token is None else self._tokenizer.token_to_id(token)
        return -1 if found is None else int(found)
