"""Downloads the files of a model into a folder: resumed, checked, and tried again."""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import requests

from axproxy.models.hub import Hub, HubError, RangeRefused
from axproxy.models.pull_plan import HubFile, PullPlan

PIECE = 64 << 10  # bytes that are lost, at most, when a connection breaks off
CHUNK = 1 << 20  # bytes read from the disk at a time
PART = ".part"  # the end of a file's name until it is complete and checked
MOST_TRIES = 6  # in a row without a byte
_FIRST_PAUSE, _LONGEST_PAUSE, _LONGEST_WISH = 1.0, 60.0, 600.0  # seconds
_RESERVE = 256 << 20  # bytes of the disk that stay free


class DownloadFailed(Exception):
    """A download cannot go on; the message says why and what to do."""


class DownloadStopped(Exception):
    """No client waits for the download any more; its parts stay."""


Pause = Callable[[int, float | None], float]  # failures in a row, the hub's wish -> seconds
Wait = Callable[[float], bool]  # waits so many seconds; returns True if the download shall stop


class Download:
    """One download of a plan into `folder`; `completed` counts the bytes that are there."""

    def __init__(
        self, hub: Hub, plan: PullPlan, folder: Path, wait: Wait, pause: Pause | None = None
    ) -> None:
        self.completed = 0
        self._hub = hub
        self._plan = plan
        self._folder = folder
        self._wait = wait
        self._pause = pause or pause_after

    def run(self) -> None:
        """Fetch what is missing.  Raises `DownloadFailed` and `DownloadStopped`."""
        self._folder.mkdir(parents=True, exist_ok=True)
        self._remove_others()
        missing = [file for file in self._plan.files if not self._is_complete(file)]
        self.completed = self._plan.size - sum(file.size for file in missing)
        self._require_room(missing)
        for file in missing:
            try:
                self._fetch(file)
            except OSError as error:
                raise self._disk_fault(error) from error

    def _remove_others(self) -> None:
        """Remove what an older plan has left: files that this one does not have."""
        wanted = {file.path for file in self._plan.files}
        for found in sorted(self._folder.rglob("*"), reverse=True):
            path = str(found.relative_to(self._folder))
            if found.is_symlink() or (found.is_file() and path.removesuffix(PART) not in wanted):
                found.unlink()

    def _is_complete(self, file: HubFile) -> bool:
        """Return whether the file is there; only a checked file has its final name."""
        place = self._folder / file.path
        if not place.is_file() or place.stat().st_size != file.size:
            return False
        # A later commit may have another file of the same name and size.
        if _digest(place, file) == _expected(file):
            return True
        place.unlink()
        return False

    def _require_room(self, missing: list[HubFile]) -> None:
        there = sum(self._part_size(file) for file in missing)
        need = sum(file.size for file in missing) - there
        free = shutil.disk_usage(self._folder).free
        if need + _RESERVE > free:
            raise DownloadFailed(
                f"{need >> 20} MiB are missing, and {self._folder} has room for "
                f"{max(0, free - _RESERVE) >> 20} MiB; make room, or set AX650_MODELS_DIR to "
                "another disk"
            )

    def _part_size(self, file: HubFile) -> int:
        try:
            return min(file.size, self._part(file).stat().st_size)
        except FileNotFoundError:
            return 0

    def _part(self, file: HubFile) -> Path:
        place = self._folder / file.path
        return place.with_name(place.name + PART)

    def _fetch(self, file: HubFile) -> None:
        part, place = self._part(file), self._folder / file.path
        part.parent.mkdir(parents=True, exist_ok=True)
        before = self.completed
        for _ in range(2):
            self._complete(file, part, before)
            if _digest(part, file) == _expected(file):
                break
            part.unlink()
        else:
            raise DownloadFailed(
                f"{file.path} arrived damaged twice; the hub may be broken: try later"
            )
        if file.is_program:
            part.chmod(0o755)
        os.replace(part, place)
        self.completed = before + file.size

    def _complete(self, file: HubFile, part: Path, before: int) -> None:
        """Ask for the rest of a file until all of it is there."""
        failures = 0
        while (have := self._part_size(file)) < file.size or not part.exists():
            self.completed = before + have
            try:
                for _ in self._append(file, part, have):
                    self.completed = before + part.stat().st_size
                    failures = 0
            except HubError as error:
                failures += 1
                if isinstance(error, RangeRefused):
                    part.unlink(missing_ok=True)
                if not error.transient or failures == MOST_TRIES:
                    raise DownloadFailed(f"{error}; what has arrived is kept") from error
                if self._wait(self._pause(failures, error.retry_after)):
                    raise DownloadStopped from error

    def _append(self, file: HubFile, part: Path, have: int) -> Iterator[None]:
        """Write what the hub sends; yield after each piece.  Raises `HubError` and `OSError`."""
        request = self._hub.part(self._plan.source, self._plan.commit, file, have)
        with request as sent, part.open("r+b" if part.exists() else "wb") as output:
            output.truncate(sent.offset)
            output.seek(sent.offset)
            left = file.size - sent.offset
            for piece in _pieces(sent.response):
                if len(piece) > left:
                    raise HubError(f"the hub sends more than all of {file.path}")
                output.write(piece)
                output.flush()
                left -= len(piece)
                yield
                if self._wait(0):
                    raise DownloadStopped
            os.fsync(output.fileno())
        if left:
            raise HubError(f"the connection broke off in {file.path}", transient=True)

    def _disk_fault(self, error: OSError) -> DownloadFailed:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            return DownloadFailed(f"the disk of {self._folder} is full; make room and pull again")
        return DownloadFailed(f"cannot write to {self._folder} ({error.strerror}); fix that")


def pause_after(failures: int, retry_after: float | None) -> float:
    """Return the seconds before another try; `retry_after` is the hub's own wish."""
    pause = min(_LONGEST_PAUSE, _FIRST_PAUSE * 2.0 ** (failures - 1))
    return max(pause, min(retry_after or 0.0, _LONGEST_WISH))


def _pieces(response: requests.Response) -> Iterator[bytes]:
    try:
        yield from response.iter_content(PIECE)
    except requests.RequestException as error:
        raise HubError("the connection to the hub broke off", transient=True) from error


def _expected(file: HubFile) -> str:
    return file.sha256 or file.sha1


def _digest(path: Path, file: HubFile) -> str:
    """Return the digest of what is on disk, of the kind that the hub gives for this file."""
    if file.sha256:
        digest = hashlib.sha256()
    else:  # a git blob; git's own choice of hash
        digest = hashlib.sha1(b"blob %d\0" % file.size, usedforsecurity=False)
    with path.open("rb") as source:
        while piece := source.read(CHUNK):
            digest.update(piece)
    return digest.hexdigest()
