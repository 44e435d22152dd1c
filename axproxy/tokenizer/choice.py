"""The tokenizer that `AX650_TOKENIZER` chooses, and everything that depends on the choice."""

from __future__ import annotations

import functools
import secrets
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from axproxy.messages import ChatRequest, Message
from axproxy.prompts.fitting import Prompt, Window
from axproxy.prompts.renderer import PromptRenderer, TemplateRenderer
from axproxy.prompts.template_features import CAPABILITIES, COMPLETION
from axproxy.prompts.vendor_script import VendorScriptRenderer
from axproxy.settings import Settings
from axproxy.tokenizer.access import VARIABLE
from axproxy.tokenizer.client import TokenizerClient
from axproxy.tokenizer.vendor_script import VendorScriptClient

_ROOT = Path(__file__).resolve().parents[2]


class TokenizerChoice(Protocol):
    """One kind of tokenizer: its process, its client, and the prompts that it takes."""

    @property
    def stateful(self) -> bool:
        """Whether its process holds a session for the runtime.

        Then a process serves one process of the runtime, and neither outlives the other.
        """

    @property
    def capabilities(self) -> frozenset[str]:
        """What prompts for it can make use of, in Ollama's words, whatever the model can do."""

    @property
    def probe_timeout(self) -> float:
        """Seconds after which a probe without an answer has failed.

        The runtime crashes when it has waited for ten seconds, so a hanging tokenizer must be
        found before that.
        """

    @property
    def probe_interval(self) -> float:
        """Seconds between two probes of a tokenizer that is ready."""

    def command(self) -> list[str]:
        """Return the command line that starts its process."""

    def environment(self) -> dict[str, str]:
        """Return the variables that its process needs beside a child's usual ones."""

    def client(self, timeout: float = 10.0) -> TokenizerClient:
        """Return a client; `timeout` is in seconds, for connecting and for each answer."""

    def renderer(self, client: TokenizerClient) -> PromptRenderer:
        """Return what renders prompts for the model.  Raises `TokenizerGone`."""

    def greeting(self, client: TokenizerClient, window: Window) -> Prompt:
        """Return a short prompt for the self-test.  Raises `TokenizerGone`."""


@functools.cache
def _own_secret() -> str:
    """Return the secret that this process shares with the tokenizer that it starts."""
    return secrets.token_hex(32)


def choose_tokenizer(settings: Settings) -> TokenizerChoice:
    """Return the tokenizer that the settings choose."""
    if settings.tokenizer == "vendor":
        return VendorScriptTokenizer(settings)
    return BuiltinTokenizer(settings)


@dataclass(frozen=True)
class BuiltinTokenizer:
    """Our own server.  It holds no state that a restart would lose."""

    settings: Settings
    stateful: bool = False
    capabilities: frozenset[str] = frozenset(CAPABILITIES)
    probe_timeout: float = 2.0
    probe_interval: float = 2.0

    def command(self) -> list[str]:
        port = ["--port", str(self.settings.tokenizer_port)]
        path = self.settings.model_path
        model = ["--model-path", str(path.resolve())] if path else []
        return [sys.executable, "-m", "axproxy.tokenizer", "--siblings-only", *port, *model]

    def environment(self) -> dict[str, str]:
        return {VARIABLE: self._secret}

    def client(self, timeout: float = 10.0) -> TokenizerClient:
        return TokenizerClient(self.settings.tokenizer_url, timeout, self._secret)

    @property
    def _secret(self) -> str:
        attached = self.settings.runtime_kind == "attach"
        return self.settings.tokenizer_secret or ("" if attached else _own_secret())

    def renderer(self, client: TokenizerClient) -> TemplateRenderer:
        return TemplateRenderer(client, client.info())

    def greeting(self, client: TokenizerClient, window: Window) -> Prompt:
        return self.renderer(client).render(ChatRequest((Message("user", "Hi"),)), window)


@dataclass(frozen=True)
class VendorScriptTokenizer:
    """The script that comes with the vendor's models.

    It answers one question at a time, and one of them takes it seconds.
    """

    settings: Settings
    stateful: bool = True
    capabilities: frozenset[str] = frozenset({COMPLETION})
    probe_timeout: float = 5.0
    probe_interval: float = 10.0

    def command(self) -> list[str]:
        # start_tokenizer.sh finds the vendor's script.
        return ["env", "AX650_TOKENIZER=vendor", str(_ROOT / "start_tokenizer.sh")]

    def environment(self) -> dict[str, str]:
        port, path = self.settings.tokenizer_port, self.settings.model_path
        model = {"AX650_MODEL_PATH": str(path.absolute())} if path else {}
        return {"AX650_TOKENIZER_PORT": str(port), **model}

    def client(self, timeout: float = 10.0) -> VendorScriptClient:
        return VendorScriptClient(self.settings.tokenizer_url, timeout)

    def renderer(self, _client: TokenizerClient) -> VendorScriptRenderer:
        return VendorScriptRenderer()

    def greeting(self, _client: TokenizerClient, _window: Window) -> Prompt:
        return Prompt("Hi", tokens=16)  # the script makes a user's turn of it
