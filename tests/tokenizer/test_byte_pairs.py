"""Counts made in the service's own process, against the library that models are trained with."""

from __future__ import annotations

import base64
import json
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer

from axproxy.models.axllm_folder import AxllmFolder
from axproxy.models.tokenizer_files import SMALL_TOKENIZER
from axproxy.prompts.chat_formats import chat_format
from axproxy.tokenizer.byte_pairs import BytePairs
from axproxy.tokenizer.in_process import InProcessTokenizer, sendable
from axproxy.tokenizer.json_vocabulary import read_json_vocabulary
from axproxy.tokenizer.mnn_vocabulary import (
    Kind,
    TokenTable,
    VocabularyError,
    read_mnn_vocabulary,
)
from tests.support.growth import assert_linear
from tests.support.model_folders import axllm_model

CONTROL = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")
WORDS = ["hello", "the ", "I'LL", " ", "\n", "\r\n\n", "  \n", "1", "234", "\u4f60\u597d", "\u00e9"]
WORDS += [
    "\U0001f600",
    "e\u0301",
    "_",
    "...",
    "\t",
    "don't",
    "\u00b2",
    "\u2167",
    "\ufffd",
    "\u3000",
]
texts = st.lists(st.sampled_from(WORDS) | st.text(max_size=8), max_size=30).map("".join)


def spelled_bytes() -> dict[str, int]:
    """Return the byte of each character in which GPT-2's vocabularies spell bytes."""
    plain = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in plain]
    return {chr(byte): byte for byte in plain} | {
        chr(256 + at): byte for at, byte in enumerate(others)
    }


def write_mnn(path: Path, kind: int = 1) -> Path:
    """Write the small tokenizer in MNN's form, with Qwen's control tokens after it."""
    model = json.loads((SMALL_TOKENIZER / "tokenizer.json").read_text())["model"]
    tokens = sorted(model["vocab"], key=model["vocab"].__getitem__)
    by_character, count = spelled_bytes(), len(tokens)
    if kind == 1:
        spelled = [bytes(by_character[letter] for letter in token) for token in tokens]
        lines = [base64.b64encode(token).decode() for token in spelled]
        lines += [base64.b64encode(token.encode()).decode() for token in CONTROL]
        sizes, merges = str(count + 3), []
    else:
        lines, sizes = [*tokens, *CONTROL], f"{count + 3} {len(model['merges'])}"
        merges = [pair if isinstance(pair, str) else " ".join(pair) for pair in model["merges"]]
    ids = f"{count} {count + 1} {count + 2} {count + 2}"
    path.write_text("\n".join([f"430 {kind}", "3 1 0", ids, sizes, *lines, *merges]) + "\n")
    return path


@pytest.fixture(scope="module")
def library() -> Tokenizer:
    return library_of()


@pytest.fixture(scope="module", params=[1, 3, "json"])
def pairs(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> BytePairs:
    if request.param == "json":
        return BytePairs(read_json_vocabulary(SMALL_TOKENIZER / "tokenizer.json"), "qwen3")
    path = write_mnn(tmp_path_factory.mktemp("mnn") / "tokenizer.txt", request.param)
    return BytePairs(read_mnn_vocabulary(path), "qwen3")


@given(text=texts)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_text_has_as_many_tokens_as_the_library_makes_of_it(
    pairs: BytePairs, library: Tokenizer, text: str
) -> None:
    wanted = len(library.encode(text, add_special_tokens=False).ids)

    assert pairs.count(text) == wanted
    assert pairs.exact


@pytest.mark.parametrize("text", ["a", " ", "ab ", "\u4f60", "\n", "1"])
def test_a_text_is_counted_in_process_in_time_that_grows_with_its_length(
    pairs: BytePairs, text: str
) -> None:
    assert_linear(lambda size: text * (size // len(text)), pairs.count, 1 << 16)


def test_a_family_without_a_known_pattern_is_an_estimate(tmp_path: Path) -> None:
    vocabulary = read_mnn_vocabulary(write_mnn(tmp_path / "tokenizer.txt"))

    assert not BytePairs(vocabulary, "paddleocr").exact
    assert BytePairs(vocabulary, "paddleocr").count("hello") > 0


def test_a_sentencepiece_vocabulary_is_counted_by_the_longest_match(tmp_path: Path) -> None:
    pieces = ["\u2581hello", "hello", "\u2581", "wor", "ld"]
    lines = [f"{base64.b64encode(piece.encode()).decode()} -1.0 1" for piece in pieces]
    file = tmp_path / "tokenizer.txt"
    file.write_text("\n".join(["430 0", "0 0 0", "", "5", *lines]) + "\n")
    vocabulary = read_mnn_vocabulary(file)

    assert vocabulary.kind is Kind.SENTENCEPIECE
    counted = BytePairs(vocabulary, "gemma3")
    assert not counted.exact
    assert counted.count("hello world") == 4


DAMAGED = (
    "",
    "429 1\n",
    "430\n",
    "430 9\n0 0 0\n\n0\n",
    "430 1\n1 0 0\n\n0\n",
    "430 1\n0 0 0\n\n5\nYQ==\n",
    "430 1\n0 0 0\n\n1\n!!!\n",
    "430 1\n0 0 0\n\n99999999999\n",
    "430 1\n0 0 0\n\n-1\n",
)


@pytest.mark.parametrize("content", DAMAGED)
def test_a_damaged_vocabulary_is_a_sentence_with_the_next_step(
    tmp_path: Path, content: str
) -> None:
    file = tmp_path / "tokenizer.txt"
    file.write_text(content)

    with pytest.raises(VocabularyError, match="download it again"):
        read_mnn_vocabulary(file)


@pytest.mark.parametrize(
    "content",
    [
        "",
        "[]",
        "{}",
        '{"model": {"type": "Unigram", "vocab": []}}',
        '{"model": {"type": "BPE", "vocab": {}, "merges": []}}',
        '{"model": {"type": "BPE", "vocab": {"a": "b"}, "merges": []}}',
        '{"model": {"type": "BPE", "vocab": {"a": 0}, "merges": [["a"]]}}',
        '{"model": {"type": "BPE", "vocab": {"a": 99999999}, "merges": []}}',
    ],
)
def test_a_tokenizer_json_without_byte_pairs_is_not_used(tmp_path: Path, content: str) -> None:
    folder = axllm_model(tmp_path / "Qwen3-0.6B")
    write_mnn(folder / "qwen3_tokenizer.txt")
    file = folder / "tokenizer.json"
    file.write_text(content)

    with pytest.raises(VocabularyError, match="download it again"):
        read_json_vocabulary(file)
    counted = InProcessTokenizer(AxllmFolder.read(folder), chat_format("qwen3", ""))
    assert counted.count("<|im_start|>user") == 1 + len(library_of().encode("user").ids)


def library_of() -> Tokenizer:
    return Tokenizer.from_file(str(SMALL_TOKENIZER / "tokenizer.json"))


@given(st.lists(st.binary(max_size=6), max_size=60), st.binary(max_size=6))
def test_the_table_finds_each_token_and_no_other(tokens: list[bytes], other: bytes) -> None:
    table = TokenTable(len(tokens))
    for token in tokens:
        table.add(token)

    assert [table[at] for at in range(len(table))] == tokens
    for token in [*tokens, other]:
        found = table.find(token)
        assert found == (tokens.index(token) if token in tokens else None)


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> InProcessTokenizer:
    folder = axllm_model(tmp_path_factory.mktemp("model") / "Qwen3-0.6B")
    write_mnn(folder / "qwen3_tokenizer.txt")
    return InProcessTokenizer(AxllmFolder.read(folder), chat_format("qwen3", "Qwen3-0.6B"))


def test_control_tokens_count_as_one_and_what_a_client_typed_as_text(
    tokenizer: InProcessTokenizer,
) -> None:
    assert tokenizer.count("<|im_start|><|im_end|>") == 2
    typed = "<\ufdd0|im_end|>"
    assert sendable(typed) == "< |im_end|>"
    assert tokenizer.count(typed) > 3
    info = tokenizer.info()
    assert {token.text for token in info.control_tokens} == set(CONTROL)
    assert info.eos_token == CONTROL[2]
    assert info.longest_token_bytes > 4


@given(text=texts, limit=st.integers(0, 20))
@settings(max_examples=40)
def test_a_text_can_be_cut_to_a_number_of_tokens(
    tokenizer: InProcessTokenizer, text: str, limit: int
) -> None:
    cut = tokenizer.truncated(text, limit)

    assert text.startswith(cut)
    assert tokenizer.count(cut) <= limit
