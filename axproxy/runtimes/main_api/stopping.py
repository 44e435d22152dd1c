"""Ends the running answer of a runtime that is about to be stopped."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

from axproxy.errors import ProxyError
from axproxy.process import ports
from axproxy.runtimes.main_api.client import RuntimeClient
from axproxy.settings import Settings

log = logging.getLogger(__name__)


def stop_answer(settings: Settings, pid: int, patient: Callable[[], bool]) -> None:
    """Stop the answer of the runtime `pid` and wait until it is idle, while `patient()`.

    After a SIGINT the program ends only when its answer is complete, which may take minutes, and it
    cannot be told to stop because its port is closed.  A stop before the run has begun is lost, so
    it is repeated until the program is idle.
    """
    if found := ports.strangers(settings.runtime_port, pid):
        # The vendor's server shares its port with another copy, whose answer it might be.
        log.info("the running answer is not stopped: %s is on the same port", found[0])
        return
    client = RuntimeClient(settings.runtime_url, timeout=1.0)
    try:
        client.stop()
        while not client.poll().done and patient():
            time.sleep(0.02)
            client.stop()
    except ProxyError as error:
        log.info("could not stop the running answer: %s", error)
    finally:
        client.close()
