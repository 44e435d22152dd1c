"""Pulls models into the store: one at a time, watched by everyone who asks for the same one."""

from __future__ import annotations

import contextlib
import fcntl
import json
import logging
import os
import shutil
import threading
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from axproxy.models.download import (
    MOST_TRIES,
    Download,
    DownloadFailed,
    DownloadStopped,
    Pause,
    pause_after,
)
from axproxy.models.hub import Hub, HubError
from axproxy.models.hub_names import OWN_TABLE, Source, UnknownSource, source_of
from axproxy.models.pull_plan import PullPlan, PullRefused, plan_pull
from axproxy.models.pull_progress import LAST_STATUSES, PullFailed, PullProgress
from axproxy.models.store import RECORD, read_record
from axproxy.settings import Settings

PULLS = ".pulls"  # in the store: what is not complete yet
ResultT = TypeVar("ResultT")

INTERVAL = 0.25  # seconds between two reports

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Programs:
    """Which of the vendor's programs are on this machine."""

    main_api: bool
    axllm: bool


def programs_for(settings: Settings) -> Programs:
    """Return the programs that the settings name; a simulator stands for both."""
    if settings.runtime_kind == "mock":
        return Programs(main_api=True, axllm=True)
    return Programs(
        settings.names_runtime_bin or settings.runtime_bin.is_file(),
        shutil.which(settings.axllm_bin) is not None,
    )


class _Pull:
    """One pull, on a thread of its own; `watchers` is guarded by the lock of `Pulls`."""

    def __init__(self, source: Source) -> None:
        self.source = source
        self.watchers = 0
        self.stop = threading.Event()
        self.done = threading.Event()
        self.status = "pulling manifest"
        self.problem: str | None = None
        self.plan: PullPlan | None = None
        self.download: Download | None = None

    def progress(self) -> PullProgress:
        plan, download = self.plan, self.download
        if plan is None or download is None:
            return PullProgress(self.status)
        return PullProgress(
            f"pulling {plan.digest[:12]}", plan.digest, plan.size, download.completed
        )


class Pulls:
    """The pulls into one store.  Any thread."""

    def __init__(
        self,
        place: Path,
        hub: Callable[[], Hub],
        programs: Callable[[], Programs],
        pause: Pause = pause_after,
    ) -> None:
        self._place = place
        self._pause = pause
        self._hub = hub
        self._programs = programs
        self._lock = threading.Lock()
        self._current: _Pull | None = None

    def pull(self, name: str) -> Generator[PullProgress, None, None]:
        """Yield the progress several times a second until the model is in the store.

        Closing the iterator stops the pull, unless another one watches it; what has arrived stays
        for the next time.  Raises `PullFailed`.
        """
        try:
            source = source_of(name, self._place / OWN_TABLE)
        except UnknownSource as error:
            raise PullFailed(str(error), unknown=True) from error
        yield PullProgress("pulling manifest")
        while (pull := self._joined(source)) is None:
            yield PullProgress("waiting for another download to end")
        try:
            while not pull.done.wait(INTERVAL):
                yield pull.progress()
            if pull.problem:
                raise PullFailed(pull.problem)
            yield pull.progress()
        finally:
            with self._lock:
                pull.watchers -= 1
                if not pull.watchers:
                    pull.stop.set()
        for status in LAST_STATUSES:
            yield PullProgress(status)

    def _joined(self, source: Source) -> _Pull | None:
        """Return the pull of this source, begun now or before; None while another one runs."""
        with self._lock:
            current = self._current
            running = current is not None and not current.done.is_set()
            if current and running and (current.source != source or current.stop.is_set()):
                busy = current
            else:
                if current is None or not running:
                    current = self._current = _Pull(source)
                    threading.Thread(
                        target=self._run, args=(current,), name="pull", daemon=True
                    ).start()
                current.watchers += 1
                return current
        busy.done.wait(INTERVAL)
        return None

    # The pull's own thread.

    def _run(self, pull: _Pull) -> None:
        try:
            with self._alone(pull):
                self._fetch(pull)
        except (PullRefused, HubError, DownloadFailed, PullFailed) as error:
            pull.problem = str(error)
            log.warning("pulling %s failed: %s", pull.source.repository, error)
        except DownloadStopped:
            pull.problem = "the download was stopped; pull again to go on"
            log.info("the pull of %s was stopped: no client waits for it", pull.source.repository)
        except OSError as error:
            pull.problem = f"cannot write to {self._place} ({error.strerror}); fix that"
            log.warning("pulling %s failed: %s", pull.source.repository, error)
        except Exception:  # those who watch must not wait for ever
            log.exception("pulling %s failed", pull.source.repository)
            pull.problem = "internal error; see the service's log"
        finally:
            pull.done.set()

    @contextlib.contextmanager
    def _alone(self, pull: _Pull) -> Iterator[None]:
        """Wait until no other process pulls into this store."""
        folder = self._place / PULLS
        folder.mkdir(parents=True, exist_ok=True)
        with (folder / ".lock").open("w") as lock:
            while True:
                try:
                    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except BlockingIOError:
                    pull.status = "waiting for a download of another program"
                if pull.stop.wait(INTERVAL):
                    raise DownloadStopped
            pull.status = "pulling manifest"
            yield

    def _fetch(self, pull: _Pull) -> None:
        source, hub = pull.source, self._hub()
        target, work = self._place / source.folder, self._place / PULLS / source.folder
        record = read_record(target)
        if target.exists() and not record:
            raise PullFailed(
                f"{target} exists and was not pulled; use it as it is, or move it away"
            )
        if record.get("commit") == source.revision:
            return  # a pinned revision cannot change
        commit = self._patiently(pull, lambda: hub.commit(source))
        files = self._patiently(pull, lambda: hub.files(source, commit))
        programs = self._programs()
        plan = plan_pull(
            source, commit, files, has_main_api=programs.main_api, has_axllm=programs.axllm
        )
        if record.get("digest") == plan.digest:
            return
        work.mkdir(parents=True, exist_ok=True)
        for file in plan.files if record else ():  # an update needs only what has changed
            here, there = target / file.path, work / file.path
            if here.is_file() and here.stat().st_size == file.size and not there.exists():
                there.parent.mkdir(parents=True, exist_ok=True)
                with contextlib.suppress(OSError):
                    os.link(here, there)
        pull.plan, pull.download = plan, Download(hub, plan, work, pull.stop.wait, self._pause)
        log.info("pulling %s, %d MiB", source.repository, plan.size >> 20)
        pull.download.run()
        self._write_record(plan, work)
        _replace(target, work)
        log.info("%s is in the store", source.repository)

    def _patiently(self, pull: _Pull, call: Callable[[], ResultT]) -> ResultT:
        """Return what the hub answers; try again where that may help."""
        failures = 0
        while True:
            try:
                return call()
            except HubError as error:
                failures += 1
                if not error.transient or failures == MOST_TRIES:
                    raise
                if pull.stop.wait(self._pause(failures, error.retry_after)):
                    raise DownloadStopped from error

    def _write_record(self, plan: PullPlan, work: Path) -> None:
        record = {
            "name": plan.source.name or "",
            "repository": plan.source.repository,
            "revision": plan.source.revision,
            "commit": plan.commit,
            "digest": plan.digest,
            "files": {file.path: file.sha256 or file.sha1 for file in plan.files},
        }
        with (work / RECORD).open("w", encoding="utf-8") as file:
            json.dump(record, file, indent=1)
            file.flush()
            os.fsync(file.fileno())


def _replace(target: Path, work: Path) -> None:
    """Move a complete folder to its place; the one before it goes last."""
    old = work.with_name(f"{work.name}.old")
    shutil.rmtree(old, ignore_errors=True)
    if target.exists():
        os.rename(target, old)
    os.rename(work, target)
    shutil.rmtree(old, ignore_errors=True)
