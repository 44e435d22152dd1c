"""Programs that something else has started: used while they answer, never started or stopped."""

from __future__ import annotations

import logging
import math
import threading
import time
from collections.abc import Callable, Generator

from axproxy.card.host import host_health
from axproxy.card.monitor import CardMonitor
from axproxy.card.smi import AxclSmi
from axproxy.errors import (
    ClientGone,
    OnChange,
    ProxyError,
    Restarting,
    Stopping,
    TokenizerGone,
    TokenizerRefused,
    Unavailable,
)
from axproxy.health import ChildHealth, RuntimeHealth
from axproxy.prompts.fitting import SMALLEST_WINDOW, Window, enforced_window
from axproxy.prompts.tokenizer import TokenizerInfo
from axproxy.runtimes.main_api.client import RuntimeClient
from axproxy.runtimes.main_api.run_log import RunLog
from axproxy.settings import Settings
from axproxy.tokenizer.choice import choose_tokenizer
from axproxy.tokenizer.client import TokenizerClient

log = logging.getLogger("attached")


class AttachedSupervisor:
    """Checks every `interval` seconds, on a thread of its own, whether both programs answer."""

    def __init__(self, settings: Settings, interval: float = 1.0) -> None:
        self._settings = settings
        self._interval = interval
        # Its log is not ours to read.
        self._window = enforced_window(None, settings.context_length, settings.prefill_limit)
        self._runtime_answers = self._tokenizer_answers = self._tokenizer_came = False
        self._refusal: TokenizerRefused | None = None
        self._since = time.time()
        self._stopping = threading.Event()
        self._leaving = False
        # Called when the tokenizer has come, with what it reports if it is ours.
        self.refresh_model: Callable[[TokenizerInfo | None], None] = lambda _info: None
        self._card = CardMonitor(AxclSmi(settings.axcl_smi), settings.device)
        self._thread = threading.Thread(target=self._run, name="attached", daemon=True)

    @property
    def owns_processes(self) -> bool:
        return False

    def start(self, on_change: OnChange = lambda _problem: None) -> None:
        self._on_change = on_change
        if not (self._settings.context_length and self._settings.prefill_limit):
            log.warning(
                "assuming the smallest window of any published model (%d tokens, prompts of %d); "
                "set AX650_CONTEXT_LENGTH and AX650_PREFILL_LIMIT to what the runtime logged",
                SMALLEST_WINDOW.context,
                SMALLEST_WINDOW.prefill_limit,
            )
        self._card.begin_load()  # it may be loading; its port opens when it has done so
        self._check()
        self._card.start()
        on_change(self.not_ready())
        self._thread.start()

    def leave(self) -> None:
        self._leaving = True

    def stop(self) -> None:
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join()
        self._card.stop()

    def window(self) -> Window:
        return self._window

    def known_window(self) -> Window:
        return self._window

    def not_ready(self) -> ProxyError | None:
        if self._leaving or self._stopping.is_set():
            return self.interruption() or Stopping("the service is being stopped; try later")
        if not self._tokenizer_answers:
            # One that has been there comes back, most likely; without one there is nothing to use.
            kind = Restarting if self._tokenizer_came else Unavailable
            return self._refusal or kind(
                f"the tokenizer does not answer on {self._settings.tokenizer_url}; "
                "start it with ./start_tokenizer.sh before the runtime"
            )
        if not self._runtime_answers:
            return Restarting(
                f"nothing answers on {self._settings.runtime_url}; start the runtime there"
            )
        return None

    def wait_ready(self, gone: Callable[[], bool], hold: float = math.inf) -> None:
        for _ in self.until_ready(gone, hold):
            pass

    def until_ready(
        self, gone: Callable[[], bool], hold: float = math.inf
    ) -> Generator[None, None, None]:
        deadline = time.monotonic() + hold
        while (problem := self.not_ready()) is not None:
            if not isinstance(problem, Restarting) or time.monotonic() > deadline:
                raise problem
            if gone():
                raise ClientGone
            yield
            self._stopping.wait(self._interval)

    def interruption(self) -> ProxyError | None:
        if self._stopping.is_set():
            return Stopping("the service is being stopped; try again when it is back")
        return None

    def run_log(self) -> RunLog:
        return RunLog()  # its output goes elsewhere

    def pid(self) -> int | None:
        return None

    def restart(self, reason: str, _pid: int | None) -> bool:
        log.error("%s; it is not ours to restart", reason)
        return False

    def order_restart(self) -> None:
        """Do nothing: the programs are not ours to restart."""

    def why_gone(self, _pid: int | None) -> str:
        return "the runtime went away while answering; start it again"

    def unload(self) -> None:
        log.info("the model stays loaded: the runtime was not started by this service")

    def load(self) -> None:
        """Do nothing: the programs are not ours to start."""

    def health(self) -> RuntimeHealth:
        problem = self.not_ready()

        def child(answers: bool) -> ChildHealth:
            state = "ready" if answers else "stopped"
            note = None if answers or problem is None else str(problem)
            return ChildHealth(state, self._since, note=note)

        return RuntimeHealth(
            status="ok" if problem is None else "loading",
            kind="attach",
            context_length=self.window().context,
            runtime=child(self._runtime_answers),
            tokenizer=child(self._tokenizer_answers),
            card=self._card.device_health(),
            host=host_health(),
        )

    def _run(self) -> None:
        while not self._stopping.wait(self._interval):
            try:
                self._check()
                self._on_change(self.not_ready())
            except Exception:  # without this thread the state would never change again
                log.exception("checking the two programs failed")

    def _refresh_model(self, client: TokenizerClient) -> bool:
        """Return whether the tokenizer has reported what it has loaded."""
        try:
            self.refresh_model(client.info() if client.traces else None)
        except TokenizerGone as error:  # it is asked again when it is back
            log.info("the tokenizer does not report what it has loaded: %s", error)
            self._refusal = error if isinstance(error, TokenizerRefused) else None
            return False
        return True

    def _check(self) -> None:
        before = (self._runtime_answers, self._tokenizer_answers)
        self._runtime_answers = RuntimeClient(self._settings.runtime_url).answers()
        client = choose_tokenizer(self._settings).client()
        answers = client.answers()
        if not answers:
            self._refusal = None
        elif not before[1]:
            answers = self._refresh_model(client)
        self._tokenizer_answers = answers
        self._tokenizer_came = self._tokenizer_came or answers
        if self._runtime_answers:
            self._card.end_load()
        elif before[0]:
            self._card.begin_load()
        if before != (self._runtime_answers, self._tokenizer_answers):
            self._since = time.time()
            log.info("runtime: %s, tokenizer: %s", self._runtime_answers, self._tokenizer_answers)
