"""`ax650 pull`: fetches a model into the store, with a bar."""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections import deque
from collections.abc import Iterator
from pathlib import Path

from axproxy.cli.service import (
    CommandFailed,
    NotRunning,
    ServiceClient,
    environment_by_hand,
    settings_by_hand,
)
from axproxy.cli.terminal import bar, size_text, time_text
from axproxy.models.hub import Hub
from axproxy.models.hub_names import OWN_TABLE, known_names
from axproxy.models.pull import PULLS, Pulls, programs_for
from axproxy.models.pull_progress import PullFailed, PullProgress
from axproxy.models.store import RECORD, default_store
from axproxy.printable import printable

_SPEED_SPAN = 10.0  # seconds over which the speed is taken
_LINE_INTERVAL = 10.0  # seconds between two lines where there is no terminal


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "model",
        nargs="?",
        help="a name such as qwen3:1.7b, or ORG/REPO[:REVISION] of huggingface.co",
    )
    parser.add_argument("--list", action="store_true", help="list the names that are known")
    parser.epilog = (
        "The model goes into the store (AX650_MODELS_DIR). HF_ENDPOINT names a mirror of the hub, "
        "HF_TOKEN your token for it. Ctrl-C keeps what has arrived; the next pull goes on there."
    )


def run(options: argparse.Namespace) -> int:
    settings, unit = settings_by_hand()
    place = settings.models_dir or default_store(environment_by_hand(unit))
    if options.list:
        print("\n".join(known_names(place / OWN_TABLE)))
        return 0
    if not options.model:
        raise CommandFailed("name a model, such as: pull qwen3:1.7b; --list shows the names")
    if unit and not os.access(place, os.W_OK):  # only the service and root may write there
        try:
            _show(_by_service(ServiceClient(settings), options.model))
        except NotRunning as error:
            raise CommandFailed(f"{error}; or use sudo") from error
        return 0
    here = Pulls(place, lambda: Hub.from_env(os.environ), lambda: programs_for(settings))
    try:
        _show(here.pull(options.model))
    except PullFailed as error:
        raise CommandFailed(str(error)) from error
    except KeyboardInterrupt:
        print("\nstopped; what has arrived is kept, pull again to go on", file=sys.stderr)
        return 130
    finally:
        give_to_owner(place)
    print(f"The model is in {place}; a service that runs sees it at once.")
    if settings.runtime_kind == "mock":
        print("Only a simulator is configured: start the service anew to use the card.")
    return 0


def _by_service(client: ServiceClient, name: str) -> Iterator[PullProgress]:
    for line in client.lines("/api/pull", {"model": name}):
        digest = str(line.get("digest", "")).removeprefix("sha256:")
        yield PullProgress(line["status"], digest, line.get("total", 0), line.get("completed", 0))


def give_to_owner(place: Path) -> None:
    """Give what root has put into a store to the owner of the store, who may delete it then."""
    if os.geteuid() != 0 or not place.is_dir():
        return
    owner = place.stat()
    pulled = [folder for folder in place.iterdir() if (folder / RECORD).is_file()]
    for folder in (place / PULLS, *pulled):
        for path in (folder, *folder.rglob("*")):
            if path.exists() and path.lstat().st_uid == 0:
                os.chown(path, owner.st_uid, owner.st_gid, follow_symlinks=False)


def _show(steps: Iterator[PullProgress]) -> None:
    """Print the progress: one line that changes on a terminal, else a line now and then."""
    terminal = sys.stdout.isatty()
    speed = PullSpeed()
    last, printed, width = "", 0.0, 0
    for step in steps:
        now = time.monotonic()
        text = speed.line(step, now)
        if terminal:
            print("\r" + text.ljust(width), end="", flush=True)
            width = len(text)
            if not step.total and step.status != last:
                print()
                width = 0
        elif step.status != last or now - printed >= _LINE_INTERVAL or _is_complete(step):
            print(text, flush=True)
            printed = now
        last = step.status
    if terminal and width:
        print()


def _is_complete(step: PullProgress) -> bool:
    return step.completed == step.total > 0


class PullSpeed:
    """Makes the line about a pull; it remembers the last seconds for the speed."""

    def __init__(self) -> None:
        self._seen: deque[tuple[float, int]] = deque()

    def line(self, step: PullProgress, now: float) -> str:
        """Return one line of at most 79 columns; `now` is on any steady clock, in seconds."""
        if not step.total:
            return printable(step.status)[:79]
        self._seen.append((now, step.completed))
        while now - self._seen[0][0] > _SPEED_SPAN:
            self._seen.popleft()
        since, before = self._seen[0]
        rate = (step.completed - before) / (now - since) if now > since else 0.0
        percent = 100 * step.completed / step.total
        parts = [
            f"pulling {bar(percent)} {percent:.0f} %",
            f"{size_text(step.completed)} of {size_text(step.total)}",
        ]
        if rate > 0 and step.completed < step.total:
            left = (step.total - step.completed) / rate
            parts += [f"{size_text(rate)}/s", f"{time_text(left)} left"]
        return ", ".join(parts)[:79]
