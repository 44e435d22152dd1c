"""What of a repository is downloaded, and whether that can work: decided before the first byte."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

from axproxy.models.folder import chip_in
from axproxy.models.hub_names import Source
from axproxy.models.model import RuntimeName

MAIN_API = "main_api_axcl_aarch64"
# The tokenizer script of the vendor's, the only script that is ever fetched.
_SCRIPT = re.compile(r"[\w.-]*tokenizer(_uid)?\.py", re.ASCII)
_SUFFIXES = {".axmodel", ".bin", ".json", ".txt", ".jinja", ".npy", ".model"}
_LARGEST_FILES = 20_000
_LEAST_PROGRAM = 100_000  # bytes; the pointer of Git LFS has some 130


class PullRefused(ValueError):
    """The repository cannot be used here; the message says why and what would work."""


@dataclass(frozen=True)
class HubFile:
    """A file of a repository.  `sha256` is that of a large file; a small one has `sha1`, that of
    its git blob."""

    path: str
    size: int
    sha1: str = ""
    sha256: str = ""

    @property
    def etag(self) -> str:
        """What the hub sends as its ETag."""
        return f'"{self.sha256 or self.sha1}"'

    @property
    def is_program(self) -> bool:
        return PurePosixPath(self.path).name == MAIN_API


@dataclass(frozen=True)
class PullPlan:
    """What is to be downloaded.  `commit` is what the revision means now."""

    source: Source
    commit: str
    files: tuple[HubFile, ...]
    runtime: RuntimeName

    @property
    def size(self) -> int:
        """Bytes."""
        return sum(file.size for file in self.files)

    @property
    def digest(self) -> str:
        """One digest for the whole model, as 64 hex digits: of its files' names and digests."""
        whole = hashlib.sha256()
        for file in sorted(self.files, key=lambda file: file.path):
            whole.update(f"{file.path}\n{file.size}\n{file.sha256 or file.sha1}\n".encode())
        return whole.hexdigest()


def plan_pull(
    source: Source, commit: str, files: Sequence[HubFile], *, has_main_api: bool, has_axllm: bool
) -> PullPlan:
    """Return what to download.  Raises `PullRefused`.

    `has_main_api` and `has_axllm` say which of the vendor's programs are on this machine.
    """
    if chip := chip_in(source.repository):
        raise PullRefused(
            f"{source.repository} is a build for another chip, the {chip}; take one for the AX650"
        )
    needed = tuple(file for file in files if is_needed(file.path))
    for file in needed:
        check_path(file.path)
    names = [PurePosixPath(file.path).name for file in needed]
    if not any(name.endswith(".axmodel") for name in names):
        raise PullRefused(
            f"{source.repository} holds no *.axmodel files, so no model for these cards; "
            "try one of https://huggingface.co/AXERA-TECH"
        )
    for_axllm = "config.json" in names and any(_is_vocabulary(name) for name in names)
    if for_axllm:
        if not has_axllm:
            raise PullRefused(
                f"{source.repository} needs the program axllm, which is not on this machine; "
                "install it (docs/hardware.md), or set AX650_AXLLM_BIN to it"
            )
        return PullPlan(source, commit, needed, "axllm")
    own = any(file.is_program and file.size >= _LEAST_PROGRAM for file in needed)
    if not own and not has_main_api:
        raise PullRefused(
            f"{source.repository} is for {MAIN_API}, which is neither in it nor on this machine; "
            "set AX650_RUNTIME_BIN to it, or take a model for axllm, such as qwen3:1.7b"
        )
    return PullPlan(source, commit, needed, "main_api")


def is_needed(path: str) -> bool:
    """Return whether the model needs this file of its repository."""
    whole = PurePosixPath(path)
    if any(part.startswith(".") and part != ".." for part in whole.parts):
        return False
    if any(chip_in(part) for part in whole.parts[:-1]):
        return False  # a build for another chip beside ours
    name = whole.name
    return name == MAIN_API or bool(_SCRIPT.fullmatch(name)) or whole.suffix in _SUFFIXES


def check_path(path: str) -> None:
    """Raise `PullRefused` for a path that could lead out of the model's folder."""
    parts = path.split("/")
    bad = not path or len(path) > 500 or path.startswith("/") or "\\" in path
    if bad or any(part in ("", ".", "..") for part in parts) or not path.isprintable():
        raise PullRefused(f"the repository has a file with the unsafe name {path!r}")


def _is_vocabulary(name: str) -> bool:
    return name.endswith("tokenizer.txt")
