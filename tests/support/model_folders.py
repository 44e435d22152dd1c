"""Model folders as the vendor publishes them, with sparse files."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from tests.support.service import ROOT

EMBEDDING = "model.embed_tokens.weight.bfloat16.bin"
POST_CONFIG = {
    "enable_temperature": False,
    "temperature": 0.9,
    "enable_repetition_penalty": False,
    "repetition_penalty": 1.2,
    "penalty_window": 20,
    "enable_top_p_sampling": False,
    "top_p": 0.8,
    "enable_top_k_sampling": True,
    "top_k": 1,
}


def sparse(path: Path, size: int) -> None:
    """Make a file of `size` bytes that takes no space."""
    with path.open("wb") as file:
        file.truncate(size)


def published_model(
    repository: Path,
    name: str = "qwen3-0.6b-ax650",
    *,
    layers: int = 28,
    columns: int = 1024,
    flat: bool = False,
) -> Path:
    """Make a model; return the folder with the axmodels, in the repository or the repository."""
    folder = repository if flat else repository / name
    folder.mkdir(parents=True)
    for layer in range(layers):
        sparse(folder / f"qwen3_p128_l{layer}_together.axmodel", 4096)
    sparse(folder / "qwen3_post.axmodel", 4096)
    sparse(folder / EMBEDDING, 151936 * columns * 2)
    (repository / "post_config.json").write_text(json.dumps(POST_CONFIG))
    shutil.copytree(ROOT / "axproxy" / "tokenizer" / "small", repository / "qwen3_tokenizer")
    return folder
