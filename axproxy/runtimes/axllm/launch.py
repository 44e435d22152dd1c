"""How `axllm serve` is started, probed and stopped: one process, which has all it needs."""

from __future__ import annotations

import logging
import shutil
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from signal import SIGTERM, Signals

from axproxy.card.environment import ROOT, child_environment
from axproxy.card.failure import why_hopeless
from axproxy.card.host import host_health
from axproxy.card.monitor import CardMonitor
from axproxy.card.smi import AxclSmi
from axproxy.engine.runtime import Timeouts
from axproxy.errors import ClientGone, ProxyError
from axproxy.health import CheckHealth, ChildHealth, RuntimeHealth
from axproxy.messages import Limits
from axproxy.models.axllm_folder import AxllmFolder, is_for_axllm
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
from axproxy.runtimes.axllm.client import AxllmClient, ModelInfo
from axproxy.runtimes.axllm.embedding import vector_in
from axproxy.runtimes.axllm.exits import describe_axllm_exit
from axproxy.runtimes.axllm.load_log import AxllmLog
from axproxy.runtimes.axllm.run_log import AxllmRunLog
from axproxy.runtimes.axllm.shadow_folder import STREAM_TIMEOUT_MS, ShadowFolder
from axproxy.runtimes.axllm.streamed_run import StreamedRun
from axproxy.settings import Settings

# A signal during the load is lost: it stops an HTTP server that does not listen yet (read in
# AXERA-TECH/ax-llm), and killing the program then can wedge the card until wall power is cut.  So
# SIGTERM is repeated until the load is over.  During an answer the program frees the model under
# the thread that computes, so it may take a moment, or crash.
LADDER = ((SIGTERM, 20.0),)
LADDER_LOADING = ((SIGTERM, 150.0),)
MOCK_LADDER = ((SIGTERM, 2.0),)
SIMULATED_MODEL = ROOT / "axmock" / "axllm" / "model"

log = logging.getLogger(__name__)


class AxllmRecipe:
    """The vendor's `axllm`, or the simulator in its place.

    Holds what the output of the program shows, anew for each start, and what it has reported.
    `spec` replaces the child in tests.
    """

    def __init__(
        self,
        settings: Settings,
        clock: Callable[[], float] = time.monotonic,
        spec: ChildSpec | None = None,
    ) -> None:
        self.settings = settings
        self._spec = spec
        self._clock = clock
        self._mock = settings.runtime_kind == "mock"
        self._pid = 0
        self._shadow = ShadowFolder()
        self._reported: Window | None = None  # also by an earlier process: of the same model
        self._name, self._is_embedding = "", False
        self._spawned_at = 0.0
        self._load_seconds: float | None = None
        self.card = CardMonitor(AxclSmi(settings.axcl_smi), settings.device, clock=clock)
        inspection = Inspection(checks_for(settings.runtime_kind))
        self.preflight = LaunchGate(
            lambda: inspection.run(CheckContext(settings, smi=self.card.smi)), clock
        )
        # Called when a process has begun to use the model's files.
        self.refresh_model: Callable[[TokenizerInfo | None], None] = lambda _info: None
        self.log = AxllmLog()

    @property
    def port(self) -> int:
        return self.settings.runtime_port

    def children(self) -> tuple[ChildSpec]:
        return (self._spec or self.spec(),)

    def start(self) -> None:
        if self._mock:
            log.info("a SIMULATOR of axllm answers instead of a model")
        else:
            self.card.start()

    def stop(self) -> None:
        self.card.stop()
        self._shadow.remove()

    def load_percent(self) -> int | None:
        return self.log.load_percent

    def health(self, status: str, children: Sequence[ChildHealth]) -> RuntimeHealth:
        (runtime,) = children
        gone = runtime.state in (State.STOPPED.value, State.BACKOFF.value)
        known = self.known_window()
        return RuntimeHealth(
            status=status,
            kind=self.settings.runtime_kind,
            runtime=runtime,
            context_length=known.context if known else None,
            load_percent=None if gone else self.log.load_percent,
            card=self.card.device_health(),
            host=host_health(),
            preflight=[
                CheckHealth(check.name, check.verdict, check.seen, check.remedy)
                for check in self.preflight.findings
            ],
        )

    # What a run needs to know of the program.

    def window(self) -> Window:
        settings = self.settings
        reported = self.log.window or self._reported
        chunk = self.log.prefill_chunk
        return enforced_window(reported, settings.context_length, settings.prefill_limit, chunk)

    def known_window(self) -> Window | None:
        return self.window() if self.log.window or self._reported else None

    def model_name(self) -> str:
        return self._name

    def load_seconds(self) -> float | None:
        return self._load_seconds

    def run_log(self) -> AxllmRunLog:
        return self.log.run

    def model_folder(self) -> AxllmFolder:
        """Return the model's folder.  Raises `AxllmFolderError`.

        The simulator serves the configured folder too if it is for axllm, else one of its own.
        """
        path = self.settings.model_path
        if path is None or (self._mock and not is_for_axllm(path)):
            path = SIMULATED_MODEL
        return AxllmFolder.read(path)

    def spec(self) -> ChildSpec:
        """Return how to run the program."""
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
            certain=lambda: bool(self.log.dead_card),
        )

    def command(self, folder: Path) -> list[str]:
        """Return the command line for the model in `folder`.  Raises `ValueError`."""
        settings = self.settings
        limits = ["--port", str(settings.runtime_port)]
        limits += ["--server_timeout_ms", str(STREAM_TIMEOUT_MS)]
        if self._mock:
            mock = [sys.executable, str(ROOT / "mock_axllm.py"), *settings.mock_args]
            return [*mock, "serve", str(folder), *limits]
        found = shutil.which(settings.axllm_bin, path=child_environment()["PATH"])
        if found is None:
            raise ValueError(
                f"{settings.axllm_bin} is not there, or may not be executed; set AX650_AXLLM_BIN"
            )
        return [found, "serve", str(folder), *limits]

    def _spawn(self) -> RealProcess:
        self._reported = self.log.window or self._reported
        self.log = AxllmLog()
        model = self.model_folder()
        self._name, self._is_embedding = model.model_name, model.is_embedding
        folder = self._shadow.make(model, self.settings.runtime_port)
        environ = child_environment()
        if self.settings.device != "auto":
            environ["AXLLM_DEVICES"] = self.settings.device
        command = self.command(folder)
        self.card.begin_load()
        self._spawned_at = self._clock()
        try:
            process = RealProcess(
                command,
                logging.getLogger("runtime"),
                self.log,
                environ=environ,
                cwd=folder,  # the program takes names that begin with `./` from here
            )
        except OSError:
            self.card.end_load()
            raise
        self._pid = process.pid
        return process

    def _explain_exit(self, status: int) -> str:
        self.card.runtime_ended(self._pid)
        return describe_axllm_exit(status, None if self.log.serving else self.log.fault)

    def _hopeless(self, failures: int) -> str | None:
        sign = self.log.dead_card
        return why_hopeless(sign, failures, self.card.number_of(sign))

    def _probe(self, pid: int) -> Probe:
        client = AxllmClient(self.settings.runtime_url)

        def check_ready(cancelled: Callable[[], bool]) -> None:
            if not client.answers():  # it listens only once the model is loaded
                raise NotReady("it is loading")
            if found := ports.strangers(self.settings.runtime_port, pid):
                raise Unusable(
                    f"port {self.settings.runtime_port} is held by {found[0]}, not by our runtime"
                )
            self._take_in(client.model())
            self._load_seconds = self._clock() - self._spawned_at
            self._self_test(cancelled)
            self.refresh_model(None)
            self.card.end_load()

        return Probe(check_ready, lambda: self._check_alive(client))

    def _check_alive(self, client: AxllmClient) -> None:
        if not client.answers():
            raise NotReady("GET /health is not answered")

    def _take_in(self, info: ModelInfo) -> None:
        """Keep what the program reports; versions before April 2026 report no limits."""
        self._name = info.name
        if info.context and info.prefill_limit:
            chunk = self.log.prefill_chunk or 128
            self._reported = Window(info.context, info.prefill_limit, chunk)
        elif self.log.window is None:
            log.warning("the runtime did not report its window; assuming %s", self.window())

    def _self_test(self, cancelled: Callable[[], bool]) -> None:
        """Have the model compute once, so that "ready" means that it can."""
        if self._is_embedding:
            self._embed_once()
            return
        run = StreamedRun(
            AxllmClient(self.settings.runtime_url),
            gone=cancelled,
            count=lambda _text: 1,
            log=self.log.run,
            timeouts=Timeouts(stall=self.settings.stall_timeout),
        )
        body = {
            "model": self._name,
            "messages": [{"role": "user", "content": "Hi"}],
            "stream": True,
            "max_tokens": 1,
            "temperature": 0.0,
        }
        try:
            for _ in run.run(body, 16, Limits(max_tokens=1), None):
                pass
        except ClientGone:
            raise NotReady("its answer is no longer needed") from None
        except ProxyError as error:
            raise Unusable(f"the self-test failed: {error.message}") from error
        finally:
            if rest := run.rest:
                rest[0].close()

    def _embed_once(self) -> None:
        body = {"model": self._name, "input": "Hi", "encoding_format": "float"}
        client = AxllmClient(self.settings.runtime_url)
        try:
            vector_in(client.embeddings(body, self.settings.stall_timeout).get("data"))
        except ProxyError as error:
            raise Unusable(f"the self-test failed: {error.message}") from error

    def _ladder(self) -> tuple[tuple[Signals, float], ...]:
        if self._mock:
            return MOCK_LADDER
        if self.log.serving:
            return LADDER
        log.warning(
            "the model is still loading, and killing it now can wedge the card until its power is "
            "cut; waiting up to %g s for the end of the load",
            LADDER_LOADING[0][1],
        )
        return LADDER_LOADING
