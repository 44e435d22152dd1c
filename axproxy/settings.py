"""The settings: environment variables, read once into one frozen object."""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Literal

from axproxy.durations import FOREVER
from axproxy.setting_values import (
    aliases,
    load_timeout,
    model_name,
    names,
    one_of,
    path,
    positive_seconds,
    tcp_port,
    text,
    time_span,
    whole,
    words,
)

RuntimeKind = Literal["vendor", "mock", "attach"]
# The values of AX650_RUNTIME that name a program, and what that program is.
_KINDS: dict[str, RuntimeKind] = {
    "vendor": "vendor",
    "axllm": "vendor",
    "axengine": "vendor",
    "mock": "mock",
    "mock-axllm": "mock",
    "attach": "attach",
}
RUNTIMES = ("auto", *_KINDS)

PREFIX = "AX650_"
SECRETS = ("AX650_API_KEY", "AX650_TOKENIZER_SECRET")  # never shown


class SettingsError(Exception):
    """A bad value, in one sentence that says which values are good."""


def setting(variable: str, parse: Callable[[str], Any], default: Any) -> Any:
    return field(default=default, metadata={"variable": PREFIX + variable, "parse": parse})


@dataclass(frozen=True)
class Settings:
    """One field per variable of docs/settings.md; times are in seconds, lengths in tokens."""

    host: str = setting("HOST", text, "127.0.0.1")
    port: int = setting("PORT", tcp_port, 5002)
    ollama_port: int = setting("OLLAMA_PORT", whole(0, 65535), 0)
    runtime: str = setting("RUNTIME", one_of(*RUNTIMES), "auto")
    simulate: str = setting("SIMULATE", one_of("on", "off"), "on")
    runtime_bin: Path = setting("RUNTIME_BIN", path, Path("./main_api_axcl_aarch64"))
    axllm_bin: Path = setting("AXLLM_BIN", path, Path("axllm"))
    axengine_path: Path | None = setting("AXENGINE_PATH", path, None)
    axengine_provider: str = setting("AXENGINE_PROVIDER", one_of("auto", "card", "board"), "auto")
    runtime_port: int = setting("RUNTIME_PORT", tcp_port, 8000)
    tokenizer_port: int = setting("TOKENIZER_PORT", tcp_port, 12345)
    models_dir: Path | None = setting("MODELS_DIR", path, None)
    model_path: Path | None = setting("MODEL_PATH", path, None)
    model_name: str | None = setting("MODEL_NAME", model_name, None)
    model_aliases: tuple[tuple[str, str], ...] = setting("MODEL_ALIASES", aliases, ())
    preload: tuple[str, ...] = setting("PRELOAD", names, ())
    max_loaded_models: int = setting("MAX_LOADED_MODELS", whole(0, 100), 0)
    device: str = setting("DEVICE", text, "auto")
    tokenizer: str = setting("TOKENIZER", one_of("builtin", "vendor"), "builtin")
    tokenizer_secret: str | None = setting("TOKENIZER_SECRET", text, None)
    context_length: int | None = setting("CONTEXT_LENGTH", whole(2, 1_000_000), None)
    prefill_limit: int | None = setting("PREFILL_LIMIT", whole(2, 1_000_000), None)
    max_queue: int = setting("MAX_QUEUE", whole(0, 10_000), 64)
    start_timeout: float = setting("START_TIMEOUT", positive_seconds, 300.0)
    stall_timeout: float = setting("STALL_TIMEOUT", positive_seconds, 60.0)
    warm_prompt: str = setting("WARM_PROMPT", one_of("on", "off"), "on")
    think: str = setting("THINK", one_of("on", "off", "ask"), "ask")
    keep_alive: float = setting("KEEP_ALIVE", time_span, FOREVER)
    min_cma_mb: int = setting("MIN_CMA_MB", whole(0, 1_000_000), 16)
    cma_check: str = setting("CMA_CHECK", one_of("warn", "fail", "off"), "warn")
    preflight_skip: tuple[str, ...] = setting("PREFLIGHT_SKIP", names, ())
    api_key: str | None = setting("API_KEY", text, None)
    api_keys_file: Path | None = setting("API_KEYS_FILE", path, None)
    authorized_keys: Path | None = setting("AUTHORIZED_KEYS", path, None)
    origins: tuple[str, ...] = setting("ORIGINS", names, ())
    log_level: str = setting("LOG_LEVEL", one_of("debug", "info", "warning", "error"), "info")
    log_format: str = setting("LOG_FORMAT", one_of("text", "json"), "text")
    log_file: Path | None = setting("LOG_FILE", path, None)
    log_file_mb: int = setting("LOG_FILE_MB", whole(0, 100_000), 20)
    log_files: int = setting("LOG_FILES", whole(0, 1000), 3)
    mock_args: tuple[str, ...] = setting("MOCK_ARGS", words, ())
    axcl_smi: Path | None = setting("AXCL_SMI", path, None)

    @property
    def runtime_kind(self) -> RuntimeKind:
        """The program that answers prompts; `auto` means the card's if one is configured."""
        if self.runtime == "auto":
            return "vendor" if self.model_path or self.lacks_model else "mock"
        return _KINDS[self.runtime]

    @property
    def needs_card(self) -> bool:
        """Whether the model runs on a card; PyAXEngine also runs where the AX650 is the host."""
        return self.runtime != "axengine" or self.axengine_provider != "board"

    @property
    def names_runtime_bin(self) -> bool:
        """Whether `AX650_RUNTIME_BIN` is set."""
        return self.runtime_bin != type(self).runtime_bin

    @property
    def lacks_model(self) -> bool:
        """Whether a model is missing where a simulator must not answer in its place.

        That is so in the installed unit, and where half of a configuration names a card.
        """
        if self.runtime in ("mock", "mock-axllm", "attach") or self.model_path:
            return False
        return self.runtime != "auto" or self.names_store or self.names_runtime_bin

    @property
    def names_store(self) -> bool:
        """Whether models are to be had from the store, now or once they are put there."""
        return bool(self.models_dir) or self.simulate == "off"

    @property
    def own_url(self) -> str:
        """The URL under which this machine reaches the service."""
        host = "127.0.0.1" if self.host in ("0.0.0.0", "::") else self.host
        return f"http://{f'[{host}]' if ':' in host else host}:{self.port}"

    @property
    def runtime_url(self) -> str:
        """Always 127.0.0.1: the vendor's server listens on IPv4 only, and a name costs a lookup."""
        return f"http://127.0.0.1:{self.runtime_port}"

    @property
    def tokenizer_url(self) -> str:
        return f"http://127.0.0.1:{self.tokenizer_port}"

    @property
    def model(self) -> str:
        """The name of the model for clients, always with a tag."""
        name = self.model_name or (self.model_path and folder_name(self.model_path)) or "mock"
        return name if ":" in name else f"{name}:latest"

    @classmethod
    def from_env(cls, environ: Mapping[str, str]) -> Settings:
        """Read the `AX650_…` variables, and Ollama's own where ours are not set.

        An empty value counts as not set.  Raises `SettingsError`.
        """
        by_variable = {f.metadata["variable"]: f for f in fields(cls)}
        for variable in environ:
            if variable.upper().startswith(PREFIX) and variable not in by_variable:
                raise SettingsError(_unknown(variable, by_variable))
        given = _from_ollama(environ, {f.name for v, f in by_variable.items() if environ.get(v)})
        for variable, known in by_variable.items():
            if value := environ.get(variable, "").strip():
                given[known.name] = _parse(variable, value, known.metadata["parse"])
        settings = cls(**given)
        settings._check(port_variable(environ))
        return settings

    def _check(self, own_port: str) -> None:
        ports = {
            own_port: self.port,
            "AX650_RUNTIME_PORT": self.runtime_port,
            "AX650_TOKENIZER_PORT": self.tokenizer_port,
        }
        if self.ollama_port not in (0, self.port):  # the same port twice is one listener
            ports["AX650_OLLAMA_PORT"] = self.ollama_port
        owner: dict[int, str] = {}
        for variable, number in ports.items():
            if number in owner:
                raise SettingsError(
                    f"{owner[number]} and {variable} are both {number}; give each its own port"
                )
            owner[number] = variable


def folder_name(path: Path) -> str:
    """Return the name that the model in this folder was published under.

    That is the folder's own, not that of a link to it; in the hub's cache, `models--ORG--NAME`, the
    folder is named by a revision.
    """
    resolved = path.resolve()
    if resolved.parent.name == "snapshots":
        return resolved.parent.parent.name.rpartition("--")[2]
    return resolved.name


def _unknown(variable: str, known: Mapping[str, Any]) -> str:
    ends = [name.removeprefix(PREFIX) for name in known]
    near = difflib.get_close_matches(variable.upper().removeprefix(PREFIX), ends, n=1, cutoff=0.6)
    hint = f"did you mean {PREFIX}{near[0]}?" if near else "docs/settings.md lists all settings."
    return f"unknown setting {variable}; {hint}"


def _parse(variable: str, value: str, parse: Callable[[str], Any]) -> Any:
    try:
        return parse(value)
    except ValueError as error:
        raise SettingsError(f"{variable} must be {error}, not {value!r}") from error


def _from_ollama(environ: Mapping[str, str], ours: set[str]) -> dict[str, Any]:
    """Read Ollama's variables, so that a machine set up for Ollama needs no new ones.

    A variable whose field is among `ours` is not even parsed.
    """
    given: dict[str, Any] = {}
    for name, (field_name, parse) in OLLAMA_VARIABLES.items():
        value = environ.get(name, "").strip(" \"'")
        overridden = {"host", "port"} if field_name == "host" else {field_name}
        if value and not overridden <= ours:
            given[field_name] = _parse(name, value, parse)
    if "host" in given:
        given["host"], given["port"] = given["host"]
    return given


def port_variable(environ: Mapping[str, str]) -> str:
    """Return the name of the variable that says on which port the service listens."""
    ours, ollama = (environ.get(name, "").strip() for name in ("AX650_PORT", "OLLAMA_HOST"))
    return "OLLAMA_HOST" if ollama and not ours else "AX650_PORT"


def _ollama_host(value: str) -> tuple[str, int]:
    """Parse `[scheme://]host[:port][/path]`; the default port is the scheme's, or else Ollama's."""
    scheme, _, rest = value.rpartition("://")
    address = rest.split("/")[0]
    default = {"http": 80, "https": 443}.get(scheme, 11434)
    if found := re.fullmatch(r"(\[[^]]*\]|[^:]*):([^:]*)", address):
        return found[1].strip("[]") or "0.0.0.0", tcp_port(found[2]) if found[2] else default
    return address.strip("[]") or "127.0.0.1", default


# Ollama's variables: the field that each sets (OLLAMA_HOST sets the port, too), and its parser.
OLLAMA_VARIABLES: dict[str, tuple[str, Callable[[str], Any]]] = {
    "OLLAMA_HOST": ("host", _ollama_host),
    "OLLAMA_ORIGINS": ("origins", names),
    "OLLAMA_KEEP_ALIVE": ("keep_alive", time_span),
    "OLLAMA_MAX_QUEUE": ("max_queue", whole(0, 10_000)),
    "OLLAMA_MAX_LOADED_MODELS": ("max_loaded_models", whole(0, 100)),
    "OLLAMA_LOAD_TIMEOUT": ("start_timeout", load_timeout),
}
