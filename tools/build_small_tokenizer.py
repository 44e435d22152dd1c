"""Makes the small tokenizer that ships with the project, from tools/corpus.txt.

    python tools/build_small_tokenizer.py [--corpus FILE] [--folder DIR]

The same corpus gives the same files.  It is a byte-level BPE vocabulary without a normaliser, so
any text comes back unchanged, followed by the control tokens of the Qwen3 family.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers, trainers

HERE = Path(__file__).resolve().parent
VOCABULARY = 4096  # bytes and merges at most; control tokens come on top

# How the Qwen family splits text into words: contractions, letters with the character before them,
# single digits, punctuation, line breaks, spaces.
WORDS = "|".join(
    [
        r"(?i:'s|'t|'re|'ve|'m|'ll|'d)",
        r"[^\r\n\p{L}\p{N}]?\p{L}+",
        r"\p{N}",
        r" ?[^\s\p{L}\p{N}]+[\r\n]*",
        r"\s*[\r\n]+",
        r"\s+(?!\S)",
        r"\s+",
    ]
)

END_OF_TEXT, END_OF_TURN = "<|endoftext|>", "<|im_end|>"

# The added tokens of Qwen3, in the order of their ids; the second list is not marked special.
SPECIAL = (
    END_OF_TEXT,
    "<|im_start|>",
    END_OF_TURN,
    "<|object_ref_start|>",
    "<|object_ref_end|>",
    "<|box_start|>",
    "<|box_end|>",
    "<|quad_start|>",
    "<|quad_end|>",
    "<|vision_start|>",
    "<|vision_end|>",
    "<|vision_pad|>",
    "<|image_pad|>",
    "<|video_pad|>",
)
NOT_SPECIAL = (
    "<tool_call>",
    "</tool_call>",
    "<|fim_prefix|>",
    "<|fim_middle|>",
    "<|fim_suffix|>",
    "<|fim_pad|>",
    "<|repo_name|>",
    "<|file_sep|>",
    "<tool_response>",
    "</tool_response>",
    "<think>",
    "</think>",
)


def train(corpus: str) -> Tokenizer:
    """Train a tokenizer on the corpus."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(WORDS), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY,
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(corpus.splitlines(keepends=True), trainer)
    tokenizer.add_tokens(
        [AddedToken(text, normalized=False, special=True) for text in SPECIAL]
        + [AddedToken(text, normalized=False, special=False) for text in NOT_SPECIAL]
    )
    return tokenizer


def vocabulary(tokenizer: Tokenizer) -> dict[str, Any]:
    """Return the content of tokenizer.json, one merge per line so that a diff can be read."""
    content: dict[str, Any] = json.loads(tokenizer.to_str())
    model = content["model"]
    model["merges"] = [
        merge if isinstance(merge, str) else " ".join(merge) for merge in model["merges"]
    ]
    return content


def config(chat_template: str) -> dict[str, Any]:
    """Return the content of tokenizer_config.json."""
    return {
        "add_bos_token": False,
        "bos_token": None,
        "chat_template": chat_template,
        "eos_token": END_OF_TURN,
        "pad_token": END_OF_TEXT,
        "tokenizer_class": "PreTrainedTokenizerFast",
        "unk_token": None,
    }


def main(argv: Sequence[str] | None = None) -> int:
    """Write both files."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--corpus", type=Path, default=HERE / "corpus.txt")
    parser.add_argument(
        "--folder", type=Path, default=HERE.parent / "axproxy" / "tokenizer" / "small"
    )
    arguments = parser.parse_args(argv)
    tokenizer = train(arguments.corpus.read_text(encoding="utf-8"))
    template = (HERE / "chatml.jinja").read_text(encoding="utf-8")
    arguments.folder.mkdir(parents=True, exist_ok=True)
    for name, content in (
        ("tokenizer.json", vocabulary(tokenizer)),
        ("tokenizer_config.json", config(template)),
    ):
        text = json.dumps(content, ensure_ascii=False, indent=1) + "\n"
        (arguments.folder / name).write_text(text, encoding="utf-8")
    print(f"{arguments.folder}: {tokenizer.get_vocab_size()} tokens")
    return 0


if __name__ == "__main__":
    sys.exit(main())
