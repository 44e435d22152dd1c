"""Folders of models for the fake PyAXEngine, in each layout."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers

from axproxy.models.tokenizer_files import SMALL_TOKENIZER
from axproxy.preflight.model import MIN_FILE_BYTES
from axproxy.tokenizer.tokenizer import TextTokenizer
from tests.support.asking import PREFACE

FAKE = Path(__file__).parent / "fake_axengine"
VOCABULARY = 40
HIDDEN = 12
KV = 8
BFLOAT16 = np.dtype(ml_dtypes.bfloat16)

Shape = list[int]


def attention_group(
    rows: int, capacity: int, *, layers: int = 0, placeholder: int = 1, **sizes: int
) -> dict[str, Any]:
    """Return a group for `rows` tokens after at most `capacity` others; `layers` are stacked."""
    hidden, kv = sizes.get("hidden", HIDDEN), sizes.get("kv", KV)
    depth = layers or 1
    cache = [depth, capacity or placeholder, kv]
    last = (
        ["logits", [1, rows, sizes.get("vocabulary", VOCABULARY)], "float32"]
        if layers
        else ["output", [1, rows, hidden], "bfloat16"]
    )
    return {
        "inputs": [
            ["K_cache", cache, "bfloat16"],
            ["V_cache", cache, "bfloat16"],
            ["indices", [1, rows], "uint32"],
            ["input", [1, rows, hidden], "bfloat16"],
            ["mask", [1, rows, capacity + rows], "bfloat16"],
        ],
        "outputs": [
            ["K_cache_out", [depth, rows, kv], "bfloat16"],
            ["V_cache_out", [depth, rows, kv], "bfloat16"],
            last,
        ],
    }


def write_part(path: Path, kind: str, groups: Sequence[Any], **more: Any) -> None:
    sizes = {"hidden": HIDDEN, "kv": KV, "vocabulary": VOCABULARY, "seed": 0}
    spec = json.dumps({"kind": kind, "groups": list(groups), **sizes, **more})
    path.write_text(spec.ljust(MIN_FILE_BYTES))  # a smaller file counts as damaged


def write_table(folder: Path, *, raw: bool = False, vocabulary: int = VOCABULARY) -> None:
    table = np.random.default_rng(99).normal(size=(vocabulary, HIDDEN)).astype(BFLOAT16)
    if raw:
        table.tofile(folder / "model.embed_tokens.weight.bfloat16.bin")
    else:
        np.save(folder / "model.embed_tokens.weight.npy", table.astype(np.float32))


def layered_model(
    folder: Path,
    *,
    window: int = 32,
    chunk: int = 4,
    capacities: Sequence[int] = (0, 4, 8, 12, 16),
    layers: int = 2,
    raw: bool = False,
    vocabulary: int = VOCABULARY,
    faults: dict[str, Any] | None = None,
) -> Path:
    """Make `*_l%d_together.axmodel` with a post model."""
    folder.mkdir(parents=True, exist_ok=True)
    groups = [attention_group(1, window - 1), *(attention_group(chunk, c) for c in capacities)]
    for layer in range(layers):
        path = folder / f"tiny_p{chunk}_l{layer}_together.axmodel"
        extra = {"vocabulary": vocabulary, "layer": layer, "seed": layer, **(faults or {})}
        write_part(path, "layer", groups, **extra)
    post = {
        "inputs": [["input", [1, 1, HIDDEN], "bfloat16"]],
        "outputs": [["output", [1, 1, vocabulary], "float32"]],
    }
    scripted = {"scripted": True} if (folder / "reply.json").exists() else {}
    pause = {"load_seconds": (faults or {}).get("load_seconds", 0)}
    sizes = {"seed": 77, "vocabulary": vocabulary}
    write_part(folder / "tiny_post.axmodel", "post", [post], **sizes, **pause, **scripted)
    write_table(folder, raw=raw, vocabulary=vocabulary)
    return folder


def stacked_model(
    folder: Path,
    *,
    split: bool,
    window: int = 32,
    chunk: int = 4,
    capacities: Sequence[int] = (0, 4, 8, 12, 16),
) -> Path:
    """Make `model_prefill.axmodel` with `model_decode.axmodel`, or one `model.axmodel`."""
    folder.mkdir(parents=True, exist_ok=True)
    decode = [attention_group(1, window - 1, layers=2)]
    prefill = [attention_group(chunk, capacity, layers=2) for capacity in capacities]
    if split:
        write_part(folder / "model_prefill.axmodel", "stacked", prefill, layers=2)
        write_part(folder / "model_decode.axmodel", "stacked", decode, layers=2)
    else:
        write_part(folder / "model.axmodel", "stacked", [*decode, *prefill], layers=2)
    write_table(folder)
    return folder


def _replace(path: Path, content: Any) -> None:
    whole = path.with_suffix(".new")
    whole.write_text(json.dumps(content))
    whole.rename(path)


def write_scripted_model(
    folder: Path, *, scripted: bool = True, **faults: Any
) -> Callable[[str], None]:
    """Make a model with the small tokenizer; return what sets its next answers.

    Before that it repeats the question.  Unless it is `scripted`, it answers what it computes.
    """
    tokenizer = TextTokenizer.load(SMALL_TOKENIZER)
    for file in SMALL_TOKENIZER.iterdir():
        shutil.copy(file, folder)
    script = folder / "reply.json"

    def reply(text: str) -> None:
        _replace(script, [*tokenizer.encode(text), tokenizer.eos_id])

    if scripted:
        pieces = [tokenizer.bytes_of(at) for at in range(tokenizer.info()["vocab_size"])]
        echo = {
            "preface": PREFACE,
            "pieces": [piece.decode("latin-1") for piece in pieces],
            "end": tokenizer.eos_id,
        }
        _replace(script, echo)
    sizes = {"window": 2559, "chunk": 128, "capacities": range(0, 2432, 128)}
    size = tokenizer.info()["vocab_size"]
    layered_model(folder, **sizes, layers=1, vocabulary=size, faults=faults)
    return reply


def encoder(folder: Path, *, places: int = 16, vocabulary: int = 30_522) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    group = {
        "inputs": [["input_ids", [1, places], "int32"]],
        "outputs": [["embeddings", [1, places, HIDDEN], "float32"]],
    }
    write_part(folder / "bge-small-en-v1.5.axmodel", "encoder", [group], vocabulary=vocabulary)
    return folder


def write_bert_tokenizer(folder: Path) -> None:
    """Write a vocabulary as encoders have it: WordPiece, lower case, [CLS] and [SEP]."""
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "the", "sky", "is", "blue", "##st", "!"]
    model = models.WordPiece({word: at for at, word in enumerate(words)}, unk_token="[UNK]")
    tokenizer = Tokenizer(model)
    tokenizer.normalizer = normalizers.BertNormalizer()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece()
    tokenizer.add_special_tokens(words[:4])
    tokenizer.save(str(folder / "tokenizer.json"))
    marks = {"cls_token": "[CLS]", "sep_token": "[SEP]", "pad_token": "[PAD]"}
    (folder / "tokenizer_config.json").write_text(json.dumps(marks))
