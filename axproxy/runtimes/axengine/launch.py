"""How the worker is started, probed and stopped, after its tokenizer."""

from __future__ import annotations

import logging
import os
import secrets
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from signal import SIGTERM, Signals
from typing import Any

from axproxy.card.environment import child_environment
from axproxy.card.failure import why_hopeless
from axproxy.card.host import host_health
from axproxy.card.monitor import CardMonitor
from axproxy.card.smi import AxclSmi, device_indices
from axproxy.card.smi_table import NoTable
from axproxy.errors import ProxyError, TokenizerGone
from axproxy.health import CheckHealth, ChildHealth, RuntimeHealth
from axproxy.models.axengine_folder import AxengineFolder
from axproxy.preflight.checks import checks_for
from axproxy.preflight.context import CheckContext
from axproxy.preflight.gate import LaunchGate
from axproxy.preflight.inspection import Inspection
from axproxy.process.probe import NotReady, Probe, Unusable
from axproxy.process.process import RealProcess, describe_exit, telling_line
from axproxy.process.spec import ChildSpec
from axproxy.process.states import State
from axproxy.prompts.fitting import Window, enforced_window
from axproxy.prompts.tokenizer import TokenizerInfo
from axproxy.runtimes.axengine.client import WorkerClient
from axproxy.runtimes.axengine.load_log import WorkerLog
from axproxy.runtimes.tokenizer_launch import FilesGate, tokenizer_spec
from axproxy.settings import Settings
from axproxy.tokenizer.choice import choose_tokenizer

# The worker ends an answer after its present step, and ignores SIGTERM while it loads: to break a
# load off can wedge the card.  A driver that hangs leaves SIGKILL.
LADDER = ((SIGTERM, 10.0),)
LADDER_LOADING = ((SIGTERM, 150.0),)

log = logging.getLogger(__name__)


class AxengineRecipe:
    """The tokenizer and the worker.

    Holds what the worker prints, anew for each start, and what it has reported.  `socket` is in a
    folder that only this user may enter.
    """

    def __init__(self, settings: Settings, clock: Callable[[], float] = time.monotonic) -> None:
        self.settings = settings
        self._clock = clock
        self._pid = 0
        self._prefix = f"ax650-axengine-{settings.tokenizer_port}-"
        self._folder = Path(tempfile.gettempdir()) / f"{self._prefix}{secrets.token_hex(16)}"
        self.socket = self._folder / "worker"
        self._window: Window | None = None
        self._work: dict[str, float] = {}
        self.card = CardMonitor(AxclSmi(settings.axcl_smi), settings.device, clock=clock)
        inspection = Inspection(checks_for(settings.runtime_kind, card=settings.needs_card))
        self.preflight = LaunchGate(
            lambda: inspection.run(CheckContext(settings, smi=self.card.smi)), clock
        )
        self.files = FilesGate(settings, clock, lambda: self.refresh_model(None))
        # Called when a process has begun to use the model's files.
        self.refresh_model: Callable[[TokenizerInfo | None], None] = lambda _info: None
        self.log = WorkerLog()

    @property
    def port(self) -> int:
        """The tokenizer's port: the worker has none, but a private socket."""
        return self.settings.tokenizer_port

    def children(self) -> tuple[ChildSpec, ChildSpec]:
        return tokenizer_spec(self.settings, self.files), self.spec()

    def start(self) -> None:
        for left in self._folder.parent.glob(f"{self._prefix}*"):  # by a service that was killed
            shutil.rmtree(left, ignore_errors=True)
        self._folder.mkdir(mode=0o700)  # fails if another user has made it
        if self.settings.needs_card:
            self.card.start()

    def stop(self) -> None:
        self.card.stop()
        shutil.rmtree(self._folder, ignore_errors=True)

    def load_percent(self) -> int | None:
        return self.log.load_percent

    def health(self, status: str, children: Sequence[ChildHealth]) -> RuntimeHealth:
        tokenizer, runtime = children
        gone = runtime.state in (State.STOPPED.value, State.BACKOFF.value)
        known = self.known_window()
        return RuntimeHealth(
            status=status,
            kind=self.settings.runtime_kind,
            runtime=runtime,
            tokenizer=tokenizer,
            context_length=known.context if known else None,
            load_percent=None if gone else self.log.load_percent,
            pyaxengine=None if gone or not self.log.provider else self._pyaxengine(),
            card=self.card.device_health(),
            host=host_health(),
            preflight=[
                CheckHealth(check.name, check.verdict, check.seen, check.remedy)
                for check in self.files.failed or self.preflight.findings
            ],
        )

    def window(self) -> Window:
        """Return the window to enforce; a safe guess until the worker has reported its own."""
        settings = self.settings
        return enforced_window(self._window, settings.context_length, settings.prefill_limit)

    def known_window(self) -> Window | None:
        return self.window() if self._window else None

    def note_work(self, calls: int, inside: float, tokens: int, seconds: float) -> None:
        """Note what an answer has cost after its first token; `inside` the library, in seconds."""
        if tokens > 0 and seconds > 0:
            self._work = {
                "calls_per_token": round(calls / tokens, 1),
                "outside_share": round(max(1 - inside / seconds, 0.0), 4),
            }

    def _pyaxengine(self) -> dict[str, Any]:
        return {"provider": self.log.provider, **self._work}

    def spec(self) -> ChildSpec:
        """Return how to run the worker."""
        return ChildSpec(
            name="runtime",
            spawn=self._spawn,
            probe=self._probe,
            stop_ladder=self._ladder,
            start_timeout=self.settings.start_timeout,
            blocked_by=self.preflight.blocked_by,
            waits_for=self.card.blocked_by,  # before the preflight, which would blame that program
            telling=lambda lines: telling_line([self.log.fault] if self.log.fault else lines),
            progress=lambda: (self.log.load_percent, self.log.serving),
            explain_exit=self._explain_exit,
            hopeless=self._hopeless,
            certain=lambda: False,
            survives_previous=True,
        )

    def command(self) -> list[str]:
        """Return the command line.  Raises `ValueError` with a sentence."""
        settings = self.settings
        if settings.model_path is None:
            raise ValueError("no model is configured; set AX650_MODEL_PATH")
        folder = AxengineFolder.locate(settings.model_path.resolve())
        words = [sys.executable, "-m", "axproxy.runtimes.axengine"]
        words += ["--socket", str(self.socket), "--model-path", str(folder)]
        return [*words, "--provider", settings.axengine_provider, "--device", self._device()]

    def environment(self) -> dict[str, str]:
        """Return the worker's variables; `AX650_AXENGINE_PATH` comes before all other modules."""
        environ = child_environment()
        if own := self.settings.axengine_path:
            environ["PYTHONPATH"] = f"{own.absolute()}{os.pathsep}{environ['PYTHONPATH']}"
        return environ

    def _spawn(self) -> RealProcess:
        self.log = WorkerLog()
        self.socket.unlink(missing_ok=True)
        command = self.command()
        self.card.begin_load()
        try:
            process = RealProcess(
                command, logging.getLogger("runtime"), self.log, environ=self.environment()
            )
        except OSError:
            self.card.end_load()
            raise
        self._pid = process.pid
        return process

    def _device(self) -> str:
        """Return the card's place in the driver's list, as PyAXEngine's `device_id`."""
        settings = self.settings
        if settings.device != "auto" or not settings.needs_card:
            return settings.device.split(",")[0] if settings.device != "auto" else "0"
        reading = self.card.smi.read(max_age=60.0)
        found = device_indices("auto", reading.result if reading else NoTable("busy", "loading"))
        return found.split(",")[0]

    def _explain_exit(self, status: int) -> str:
        self.card.runtime_ended(self._pid)
        ended = describe_exit(status)
        return f"{ended}: {self.log.fault}" if self.log.fault else ended

    def _hopeless(self, failures: int) -> str | None:
        sign = self.log.dead_card
        return why_hopeless(sign, failures, self.card.number_of(sign))

    def _probe(self, _pid: int) -> Probe:
        client = WorkerClient(self.socket)

        def check_ready(_cancelled: Callable[[], bool]) -> None:
            if not self.log.serving:
                raise NotReady("it is loading")
            self._test(client)
            self.refresh_model(None)
            self.card.end_load()

        return Probe(check_ready, lambda: self._check_alive(client))

    def _check_alive(self, client: WorkerClient) -> None:
        try:
            client.info()
        except ProxyError as error:
            raise NotReady(error.message) from error

    def _test(self, client: WorkerClient) -> None:
        """Have the model compute once, so that "ready" means that it can."""
        tokenizer = choose_tokenizer(self.settings)
        words = tokenizer.client()
        try:
            info = client.info()
            if info.places:
                self._window = Window(info.places, info.places, info.places)
                with client.embed([[0]]) as reply:
                    reply.next(self.settings.stall_timeout)
                return
            self._window = Window(info.window, info.window, info.chunk)
            ids = words.tokenize(tokenizer.greeting(words, self.window()).text)
            with client.answer(ids, 1, (), {"temperature": 0.0}) as reply:
                while "end" not in reply.next(self.settings.stall_timeout):
                    pass
        except TokenizerGone as error:
            raise NotReady("the tokenizer is away") from error  # the model need not be loaded again
        except ProxyError as error:
            raise Unusable(f"the self-test failed: {error.message}") from error

    def _ladder(self) -> tuple[tuple[Signals, float], ...]:
        return LADDER if self.log.serving else LADDER_LOADING
