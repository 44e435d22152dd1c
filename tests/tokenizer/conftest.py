"""Tokenizers to test with, and a server that runs for the length of one test module."""

import json
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers

from axproxy.models.tokenizer_files import SMALL_TOKENIZER
from axproxy.tokenizer.server import TokenizerServer
from axproxy.tokenizer.tokenizer import TextTokenizer
from tests.tokenizer.tokenizer_calls import Caller


@pytest.fixture(scope="session", name="small")
def small_tokenizer() -> TextTokenizer:
    """The tokenizer that ships with the project."""
    return TextTokenizer.load(SMALL_TOKENIZER)


@pytest.fixture(scope="session", name="pieces_folder")
def folder_in_the_manner_of_sentencepiece(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a small vocabulary of word pieces that falls back to single bytes."""
    words = ["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256))]
    words += ["\u2581", *"abcdefghijklmnopqrstuvwxyz", "\u2581a", "he", "\u2581he", "ll"]
    merges = [("\u2581", "a"), ("h", "e"), ("\u2581", "he"), ("l", "l")]
    tokenizer = Tokenizer(
        models.BPE(
            vocab={word: number for number, word in enumerate(words)},
            merges=merges,
            unk_token="<unk>",
            byte_fallback=True,
        )
    )
    tokenizer.normalizer = normalizers.Sequence(
        [normalizers.Prepend("\u2581"), normalizers.Replace(" ", "\u2581")]
    )
    tokenizer.decoder = decoders.Sequence(
        [
            decoders.Replace("\u2581", " "),
            decoders.ByteFallback(),
            decoders.Fuse(),
            decoders.Strip(" ", 1, 0),
        ]
    )
    special = [AddedToken(text, special=True, normalized=False) for text in words[:3]]
    tokenizer.add_special_tokens(special)
    folder = tmp_path_factory.mktemp("pieces")
    tokenizer.save(str(folder / "tokenizer.json"))
    config = {"bos_token": {"content": "<s>"}, "eos_token": {"content": "</s>"}}
    (folder / "tokenizer_config.json").write_text(json.dumps(config))
    return folder


@pytest.fixture(scope="session", name="pieces")
def sentencepiece_tokenizer(pieces_folder: Path) -> TextTokenizer:
    """Word pieces with spaces written as U+2581."""
    return TextTokenizer.load(pieces_folder)


@pytest.fixture(name="server")
def running_server(small: TextTokenizer) -> Iterator[TokenizerServer]:
    """A server with the small tokenizer on a free port."""
    with TokenizerServer(("127.0.0.1", 0), small) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


@pytest.fixture(name="call")
def caller(server: TokenizerServer) -> Caller:
    """Calls the running server."""
    return Caller(server.server_address[1])
