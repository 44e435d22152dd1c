"""The last step of readiness: one token from the model, so that "ready" means it can answer."""

from __future__ import annotations

from collections.abc import Callable

from axproxy.engine.runtime import Timeouts
from axproxy.errors import ProxyError, RuntimeStalled
from axproxy.messages import Limits, Sampling
from axproxy.prompts.fitting import Window
from axproxy.runtimes.main_api.client import RuntimeClient
from axproxy.runtimes.main_api.generation import Generation
from axproxy.runtimes.main_api.run_log import RunLog
from axproxy.settings import Settings
from axproxy.tokenizer.choice import choose_tokenizer


class SelfTestFailed(Exception):
    """The runtime serves HTTP but does not generate."""


def self_test(
    settings: Settings, window: Window, cancelled: Callable[[], bool], log: RunLog | None = None
) -> None:
    """Run one short generation and leave the runtime idle.

    `log` is the runtime's; it may show that the token means nothing.  No request may use the
    runtime meanwhile.  Raises `SelfTestFailed`, and `ClientGone` once `cancelled()`.
    """
    tokenizer = choose_tokenizer(settings)
    client = tokenizer.client()
    runtime = RuntimeClient(settings.runtime_url)
    try:
        generation = Generation(
            runtime,
            client,
            window,
            control_tokens=(),
            gone=cancelled,
            log=log,
            timeouts=Timeouts(stall=settings.stall_timeout),
        )
        try:
            prompt = tokenizer.greeting(client, window)
            for _ in generation.run(prompt, Sampling(temperature=0.0), Limits(max_tokens=1)):
                pass
        except RuntimeStalled:
            generation.abandon()  # it would not react to a stop either
            raise
        finally:
            generation.close()
    except ProxyError as error:
        raise SelfTestFailed(f"the self-test failed: {error.message}") from error
    finally:
        runtime.close()
