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


def axllm_config(**changes: object) -> dict[str, object]:
    """Return the `config.json` of Qwen3-0.6B with two layers; `None` leaves a key out."""
    config: dict[str, object] = {
        "model_name": "AXERA-TECH/Qwen3-0.6B",
        "url_tokenizer_model": "qwen3_tokenizer.txt",
        "tokenizer_type": "Qwen3",
        "post_config_path": "post_config.json",
        "template_filename_axmodel": "qwen3_p128_l%d_together.axmodel",
        "axmodel_num": 2,
        "filename_post_axmodel": "qwen3_post.axmodel",
        "filename_tokens_embed": EMBEDDING,
        "tokens_embed_num": 151936,
        "tokens_embed_size": 1024,
        "use_mmap_load_embed": True,
        "devices": [0],
        **changes,
    }
    return {key: value for key, value in config.items() if value is not None}


def axllm_model(folder: Path, **changes: object) -> Path:
    """Make a model as it is published for `axllm`, with two layers; return its folder."""
    folder.mkdir(parents=True)
    config = axllm_config(**changes)
    (folder / "config.json").write_text(json.dumps(config, indent=2))
    (folder / "post_config.json").write_text(json.dumps(POST_CONFIG))
    for layer in range(2):
        sparse(folder / f"qwen3_p128_l{layer}_together.axmodel", 4096)
    sparse(folder / "qwen3_post.axmodel", 4096)
    sparse(folder / EMBEDDING, 151936 * 1024 * 2)
    (folder / "qwen3_tokenizer.txt").write_text("430 1\n0 0 0\n\n0\n")
    return folder
