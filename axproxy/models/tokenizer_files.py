"""Finds and reads the folder of a tokenizer, which has the layout of Hugging Face."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from axproxy.models.access import why_closed, why_no_folder
from axproxy.models.manifest import ManifestError, find_manifest, read_manifest

VOCABULARY = "tokenizer.json"
CONFIG = "tokenizer_config.json"
TEMPLATE = "chat_template.jinja"
# Our own, for use without a model.
SMALL_TOKENIZER = Path(__file__).parents[1] / "tokenizer" / "small"

_LFS_POINTER = b"version https://git-lfs"


class TokenizerFolderError(Exception):
    """A tokenizer folder cannot be used; the message says why and what to do."""


@dataclass(frozen=True)
class TokenizerFiles:
    """The content of a tokenizer folder; only the vocabulary is required."""

    vocabulary: Path
    eos_token: str | None = None
    bos_token: str | None = None
    chat_template: str | None = None

    def has_token(self, text: str) -> bool:
        """Return whether the vocabulary has this token; finds texts that JSON leaves as they are.

        Raises `OSError`.
        """
        return json.dumps(text).encode() in self.vocabulary.read_bytes()


def find_tokenizer(model_path: Path) -> Path:
    """Return the folder with the model's tokenizer.json.

    That is the folder named in `ax650.toml`, else the model's own, else a `*tokenizer*` folder in
    it, else one beside it.  AXERA ships several (`qwen2.5_tokenizer`, `qwen3_tokenizer`): the right
    folder is named like the script next to it (`qwen3_tokenizer_uid.py`), or its name is contained
    in the model's.  Raises `TokenizerFolderError` when there is none, or several fit equally well.
    """
    if problem := why_no_folder(model_path):
        raise TokenizerFolderError(problem)
    if stated := _folder_in_manifest(model_path):
        return stated
    if (model_path / VOCABULARY).is_file():
        return model_path
    for place in (model_path, model_path.absolute().parent):
        ranked = sorted(
            ((_likeness(folder, model_path), folder) for folder in _tokenizer_folders(place)),
            key=lambda entry: (entry[0], entry[1].name),
            reverse=True,
        )
        if len(ranked) > 1 and ranked[0][0] == ranked[1][0]:
            names = " and ".join(folder.name for _, folder in ranked[:2])
            raise TokenizerFolderError(
                f"{place} has several tokenizers ({names}); name the right one with `tokenizer` in "
                "ax650.toml"
            )
        if ranked:
            return ranked[0][1]
    raise TokenizerFolderError(
        f"no {VOCABULARY} in or beside {model_path}; "
        "put the one from the model's Hugging Face page there, or name its folder with `tokenizer` "
        "in ax650.toml"
    )


def read_tokenizer_files(folder: Path) -> TokenizerFiles:
    """Return what the folder contains.  Raises `TokenizerFolderError` if a file is unusable."""
    _open(folder / VOCABULARY).close()
    config = _read_config(folder / CONFIG)
    # Encoders name the ends of a text in other words: [CLS] and [SEP].
    decodes = config.get("eos_token") or config.get("bos_token")
    begin, end = ("bos_token", "eos_token") if decodes else ("cls_token", "sep_token")
    return TokenizerFiles(
        vocabulary=folder / VOCABULARY,
        eos_token=_token(config.get(end)),
        bos_token=_token(config.get(begin)),
        chat_template=_read_template(folder / TEMPLATE) or _template(config.get("chat_template")),
    )


def _folder_in_manifest(model_path: Path) -> Path | None:
    try:
        place = find_manifest(model_path)
        stated = read_manifest(place).tokenizer if place else None
    except OSError:
        return None
    except ManifestError as error:
        raise TokenizerFolderError(str(error)) from error
    return (place / stated).resolve() if place and stated else None


def _likeness(folder: Path, model_path: Path) -> tuple[bool, int]:
    named_after = any(folder.parent.glob(f"{folder.name}*.py"))
    stem = _letters(folder.name.lower().replace("tokenizer", ""))
    return named_after, len(stem) if stem in _letters(model_path.name.lower()) else 0


def _letters(name: str) -> str:
    return "".join(character for character in name if character.isalnum())


def _tokenizer_folders(place: Path) -> list[Path]:
    try:
        return [
            folder
            for folder in place.iterdir()
            if "tokenizer" in folder.name.lower() and (folder / VOCABULARY).is_file()
        ]
    except OSError:
        return []


def _open(path: Path) -> BinaryIO:
    try:
        file = path.open("rb")
    except FileNotFoundError as error:
        raise TokenizerFolderError(
            f"there is no {path}; copy it from the model's Hugging Face page"
        ) from error
    except OSError as error:
        problem = why_closed(path) or f"cannot read {path} ({error.strerror}); fix that"
        raise TokenizerFolderError(problem) from error
    if file.read(len(_LFS_POINTER)) == _LFS_POINTER:
        file.close()
        raise TokenizerFolderError(
            f"{path} is a git-LFS pointer, not the file itself; run `git lfs pull` in its folder"
        )
    file.seek(0)
    return file


def _read_config(path: Path) -> dict[str, Any]:
    if not path.exists():
        return {}
    try:
        with _open(path) as file:
            config = json.load(file)
    except (ValueError, RecursionError) as error:
        raise TokenizerFolderError(f"{path} is not JSON ({error}); fetch it again") from error
    if not isinstance(config, dict):
        raise TokenizerFolderError(f"{path} is not a JSON object; fetch it again")
    return config


def _read_template(path: Path) -> str | None:
    if not path.exists():
        return None
    try:
        with _open(path) as file:
            return file.read().decode()
    except UnicodeDecodeError as error:
        raise TokenizerFolderError(f"{path} is not UTF-8; fetch it again") from error


def _token(entry: Any) -> str | None:
    # The entry is a string, or an object with the token's flags.
    text = entry.get("content") if isinstance(entry, dict) else entry
    return text if isinstance(text, str) and text else None


def _template(entry: Any) -> str | None:
    if isinstance(entry, list):
        named = {item.get("name"): item.get("template") for item in entry if isinstance(item, dict)}
        entry = named.get("default")
    return entry if isinstance(entry, str) else None
