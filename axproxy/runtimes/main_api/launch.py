"""How the vendor's runtime is started, probed and stopped, after its tokenizer."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from signal import SIGINT, SIGTERM, Signals

from axproxy.card.environment import ROOT, child_environment
from axproxy.card.failure import why_hopeless
from axproxy.card.host import host_health
from axproxy.card.monitor import CardMonitor
from axproxy.card.smi import AxclSmi, device_indices
from axproxy.card.smi_table import NoTable
from axproxy.errors import ClientGone, TokenizerGone
from axproxy.health import CheckHealth, ChildHealth, RuntimeHealth
from axproxy.models.folder import ModelFolder
from axproxy.preflight.checks import checks_for
from axproxy.preflight.context import CheckContext
from axproxy.preflight.gate import LaunchGate
from axproxy.preflight.inspection import Inspection
from axproxy.process import ports
from axproxy.process.probe import NotReady, Probe, Unusable
from axproxy.process.process import RealProcess, telling_line
from axproxy.process.spec import ChildSpec
from axproxy.process.states import State
from axproxy.prompts.fitting import Window, enforced_window
from axproxy.prompts.tokenizer import TokenizerInfo
from axproxy.runtimes.main_api.client import RuntimeClient
from axproxy.runtimes.main_api.exits import describe_runtime_exit
from axproxy.runtimes.main_api.load_log import RuntimeLog
from axproxy.runtimes.main_api.run_log import RunLog
from axproxy.runtimes.main_api.self_test import SelfTestFailed, self_test
from axproxy.runtimes.main_api.stopping import stop_answer
from axproxy.runtimes.tokenizer_launch import FilesGate, ScriptSession, tokenizer_spec
from axproxy.settings import Settings
from axproxy.tokenizer.choice import choose_tokenizer

# The vendor's program handles only SIGINT: after the running answer it unloads the model and frees
# the card.  A SIGINT during the load is lost, and killing it then can wedge the card until wall
# power is cut; so the end of the load is waited for (133 s for a 4B model on a Pi 5).
VENDOR_LADDER = ((SIGINT, 20.0), (SIGTERM, 10.0))
VENDOR_LADDER_LOADING = ((SIGINT, 150.0), (SIGTERM, 10.0))
STOP_ANSWER_TIMEOUT = 3.0  # seconds until an answer that was told to stop must have ended
LOG_TIMEOUT = 1.0  # seconds for which the log may be behind the answer
MOCK_LADDER = ((SIGINT, 2.0), (SIGTERM, 2.0))
MOCK_LADDER_LOADING = ((SIGINT, 0.5), (SIGTERM, 2.0))

log = logging.getLogger(__name__)


class MainApiRecipe:
    """The tokenizer and the vendor's runtime, or the simulator in its place.

    Holds what the runtime's output shows, anew for each start.  `specs` replaces both children in
    tests.
    """

    def __init__(
        self,
        settings: Settings,
        clock: Callable[[], float] = time.monotonic,
        specs: tuple[ChildSpec, ChildSpec] | None = None,
    ) -> None:
        self.settings = settings
        self._specs = specs
        self._clock = clock
        self._mock = settings.runtime_kind == "mock"
        self._pid = 0
        self.card = CardMonitor(AxclSmi(settings.axcl_smi), settings.device, clock=clock)
        self._logged: Window | None = None  # by an earlier run, most likely of the same model
        self._chunk: int | None = None  # as the model's folder tells it
        inspection = Inspection(checks_for(settings.runtime_kind))
        self.preflight = LaunchGate(
            lambda: inspection.run(CheckContext(settings, smi=self.card.smi)), clock
        )
        self.files = FilesGate(settings, clock, lambda: self.refresh_model(None))
        # Called when a process has begun to use the model's files.
        self.refresh_model: Callable[[TokenizerInfo | None], None] = lambda _info: None
        self.log = RuntimeLog()

    @property
    def port(self) -> int:
        return self.settings.runtime_port

    def children(self) -> tuple[ChildSpec, ChildSpec]:
        tokenizer, runtime = self._specs or (
            tokenizer_spec(self.settings, self.files),
            self.spec(),
        )
        if choose_tokenizer(self.settings).stateful:
            # Without the session that it began with, the next request would abort the runtime.
            session = ScriptSession()
            return replace(tokenizer, spent=lambda row: session.over(*row)), runtime
        return tokenizer, replace(runtime, survives_previous=True)

    def start(self) -> None:
        if self._mock:
            level = logging.INFO if self.settings.runtime == "mock" else logging.WARNING
            log.log(level, "no card is configured: a SIMULATOR answers instead of a model")
        else:
            self.card.start()

    def stop(self) -> None:
        self.card.stop()

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
            card=self.card.device_health(),
            host=host_health(),
            preflight=[
                CheckHealth(check.name, check.verdict, check.seen, check.remedy)
                for check in self.files.failed or self.preflight.findings
            ],
        )

    def run_log(self) -> RunLog:
        """Return what the runtime process that runs now logs about its answers."""
        return self.log.run

    def window(self) -> Window:
        """Return the window to enforce; a safe guess until the runtime has reported its own."""
        settings, reported = self.settings, self.log.window or self._logged
        return enforced_window(
            reported, settings.context_length, settings.prefill_limit, self._chunk
        )

    def known_window(self) -> Window | None:
        """Return the window that the runtime has reported, made smaller by the settings."""
        return self.window() if self.log.window or self._logged else None

    def spec(self) -> ChildSpec:
        """Return how to run the runtime."""
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
            before_stop=self._stop_answer,
            explain_exit=self._explain_exit,
            hopeless=self._hopeless,
            certain=lambda: self.log.certain,
        )

    def command(self) -> tuple[list[str], Path | None]:
        """Return the command line and its working folder; raises `ValueError` with a sentence."""
        settings = self.settings
        tokenizer = ["--url_tokenizer_model", settings.tokenizer_url]
        if self._mock:
            port = ["--port", str(settings.runtime_port)]
            mock = [sys.executable, str(ROOT / "mock_main_api.py")]
            return [*mock, *port, *tokenizer, *settings.mock_args], None
        if settings.model_path is None:
            raise ValueError("no model is configured; set AX650_MODEL_PATH")
        folder = ModelFolder.read(settings.model_path)
        self._chunk = folder.prefill_chunk
        device = ["--devices", self._devices()]
        binary = str(settings.runtime_bin.absolute())  # a link's name says more than its target's
        return [binary, *folder.flags(), *tokenizer, *device], folder.working_folder

    def _spawn(self) -> RealProcess:
        self._logged = self.log.window or self._logged
        self.log = RuntimeLog()
        command, folder = self.command()
        self.card.begin_load()
        try:
            process = RealProcess(
                command,
                logging.getLogger("runtime"),
                self.log,
                environ=child_environment(),
                cwd=folder,
            )
        except OSError:
            self.card.end_load()
            raise
        self._pid = process.pid
        return process

    def _devices(self) -> str:
        if self.settings.device != "auto":
            return self.settings.device
        reading = self.card.smi.read(max_age=60.0)
        return device_indices(
            "auto", reading.result if reading else NoTable("busy", "a load is on")
        )

    def _explain_exit(self, status: int) -> str:
        self.card.runtime_ended(self._pid)
        return describe_runtime_exit(status, self.log.why_ended())

    def _hopeless(self, failures: int) -> str | None:
        sign = self.log.dead_card or self.log.run.trouble
        why = why_hopeless(sign, failures, self.card.number_of(sign))
        return self.log.why_useless() if self.log.lacking else why

    def _probe(self, pid: int) -> Probe:
        first_answer: list[float] = []
        client = RuntimeClient(self.settings.runtime_url)

        def check_ready(cancelled: Callable[[], bool]) -> None:
            self._raise_fault()
            if not client.answers():
                raise NotReady("it is loading")
            first_answer.append(self._clock())
            if not self.log.serving and self._clock() - first_answer[0] < 2.0:
                raise NotReady("its log is still being read")
            if found := ports.strangers(self.settings.runtime_port, pid):
                raise Unusable(
                    f"port {self.settings.runtime_port} is held by {found[0]}, not by our runtime"
                )
            self._test(cancelled)
            self._raise_fault()
            self.refresh_model(None)
            self.card.end_load()

        return Probe(check_ready, lambda: self._check_alive(client))

    def _check_alive(self, client: RuntimeClient) -> None:
        if self.log.run.proves_while_idle():
            raise Unusable(f"it logged: {self.log.run.trouble}")
        if not client.answers():
            raise NotReady("OPTIONS / is not answered")

    def _test(self, cancelled: Callable[[], bool]) -> None:
        if self.log.window is None:
            log.warning("the runtime did not log its window; assuming %s", self.window())
        try:
            self_test(self.settings, self.window(), cancelled, self.log.run)
        except SelfTestFailed as failure:
            if isinstance(failure.__cause__, TokenizerGone):
                raise NotReady(str(failure)) from failure  # the model need not be loaded again
            raise Unusable(str(failure)) from failure
        except ClientGone:
            raise NotReady("its answer is no longer needed") from None
        self._raise_trouble(cancelled)

    def _raise_trouble(self, cancelled: Callable[[], bool]) -> None:
        # A failing card computes a token, too; only the log shows the failure.  The speed is the
        # last line that the program prints about a run; before it our reader may be behind.
        run, deadline = self.log.run, self._clock() + LOG_TIMEOUT
        while run.times().speed is None and self._clock() < deadline and not cancelled():
            time.sleep(0.01)
        if run.proves_alone():
            raise Unusable(f"it logged: {run.trouble}")

    def _raise_fault(self) -> None:
        if useless := self.log.why_useless():
            raise Unusable(useless)

    def _ladder(self) -> tuple[tuple[Signals, float], ...]:
        if self._mock:
            return MOCK_LADDER if self.log.serving else MOCK_LADDER_LOADING
        if self.log.serving:
            return VENDOR_LADDER
        log.warning(
            "the model is still loading, and killing it now can wedge the card until its power is "
            "cut; waiting up to %g s for the end of the load",
            VENDOR_LADDER_LOADING[0][1],
        )
        return VENDOR_LADDER_LOADING

    def _stop_answer(self) -> None:
        if self.log.serving:
            deadline = self._clock() + STOP_ANSWER_TIMEOUT
            stop_answer(self.settings, self._pid, lambda: self._clock() < deadline)
