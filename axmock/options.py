"""The command line: the vendor's flags, the simulator's own, and the vendor's parser.

One field of `Options` holds everything about a flag.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import Field, dataclass, field, fields
from typing import Any

_QWEN = "You are Qwen, created by Alibaba Cloud. You are a helpful assistant."

LENIENT = """
The flags with underscores and --devices are the vendor's.  More lenient than the vendor's program:
  --devices may be missing (card 0 then), model files are never opened, token ids are checked
  against --tokens_embed_num only when that flag is given, and the port is opened on 127.0.0.1
  instead of every interface unless --host says otherwise.
Like the vendor's program, this help goes to stderr.
"""


class UsageError(Exception):
    """The command line is wrong; the message is the vendor's."""


def _flag(text: str, default: Any = None, **metadata: Any) -> Any:
    return field(default=default, metadata={"text": text, **metadata})


@dataclass(frozen=True)
class Options:
    """The command line's values; the simulator's own flags have hyphens for underscores."""

    system_prompt: str = _flag("system prompt", _QWEN, vendor=True)
    template_filename_axmodel: str = _flag(
        "axmodel path template", "tinyllama-int8/tinyllama_l%d.axmodel", vendor=True
    )
    filename_post_axmodel: str = _flag(
        "post axmodel path", "tinyllama-int8/tinyllama_post.axmodel", vendor=True
    )
    url_tokenizer_model: str = _flag("tokenizer model path", "http://127.0.0.1:12345", vendor=True)
    filename_tokens_embed: str = _flag(
        "tokens embed path", "tinyllama.model.embed_tokens.weight.bfloat16.bin", vendor=True
    )
    axmodel_num: int = _flag("num of axmodel(for template)", 22, vendor=True)
    tokens_embed_num: int | None = _flag("tokens embed num", vendor=True, shown="32000")
    tokens_embed_size: int = _flag("tokens embed size", 2048, vendor=True)
    use_mmap_load_embed: bool = _flag("it can save os memory", default=False, vendor=True)
    devices: str = _flag('devices id,for example: "0,1,2,3" ', "0", vendor=True)

    host: str = _flag("address to listen on; the vendor's is 0.0.0.0", "127.0.0.1")
    port: int = _flag("port to listen on, 0 for any free one; the vendor's is 8000", 8000)
    cards: int = _flag("how many cards the machine has", 1)
    load_seconds: float = _flag("how long loading the model takes", 0.5)
    tokens_per_second: float = _flag("speed of an answer, 0 for as fast as possible", 30.0)
    prefill_tokens_per_second: float = _flag(
        "speed of reading a prompt, counted in whole chunks, 0 for no time at all", 2000.0
    )
    context: int = _flag("M, the longest conversation in tokens (max_token_len)", 2559)
    prefill_limit: int = _flag("G, the longest prompt in tokens (prefill_max_token_num)", 2048)
    prefill_chunk: int = _flag("C, tokens per prefill step; groups are 1, C, 2C ... G", 128)
    layers: int | None = _flag("layers of the model; --axmodel_num unless given")
    kv_cache_size: int = _flag("kv_cache_size in the start-up log", 1024)
    remain_cmm: int = _flag("remaining card memory in the start-up log, in MB", 7021)
    reply: str | None = _flag("answer this text to everything instead of repeating the prompt")
    reply_file: str | None = _flag("answer this file's text, read anew for each answer")

    crash_after_tokens: int | None = _flag("fault: die by SIGSEGV after N tokens of an answer")
    hang_after_tokens: int | None = _flag(
        "fault: the driver never returns after N tokens of an answer; only SIGTERM helps"
    )
    lose_card_after_tokens: int | None = _flag(
        "fault: the card is lost after N tokens; the last one is repeated at full speed until M"
    )
    exit_during_load: int | None = _flag(
        "fault: the post model fails to load; exit with this code (255 if none is given;"
        " 11 and 129: the driver or the card is missing, so nothing is logged)",
        bare=255,
    )
    refuse_layer: int | None = _flag(
        "fault: the card refuses this layer's file; the load goes on, the first run aborts"
    )
    ignore_sigint: bool = _flag("fault: SIGINT has no effect", default=False, bare=True)
    ignore_sigterm: bool = _flag("fault: SIGTERM has no effect", default=False, bare=True)
    stick_running: bool = _flag(
        "fault: the running flag stays set for ever after the next answer", default=False, bare=True
    )
    bad_utf8: bool = _flag(
        "fault: the first poll with text gets a 500 and the text is lost", default=False, bare=True
    )
    refuse_port: bool = _flag(
        "fault: say that the server is running, then exit 0 as when the port is taken",
        default=False,
        bare=True,
    )
    flood_output: bool = _flag(
        "fault: write about 2000 log lines a second to stdout", default=False, bare=True
    )
    fail_polls: int = _flag("fault: the first N polls of each answer get a 500", 0)
    garbage_polls: int = _flag("fault: the next N polls of each answer get half a JSON text", 0)
    full_context: bool = _flag(
        "fault: every prompt is refused as if the context were full", default=False, bare=True
    )
    spare_answers: int = _flag("the first N answers are spared all faults of answers and polls", 0)


@dataclass(frozen=True)
class CommandLine:
    """A parsed command line."""

    options: Options
    wants_help: bool


def parse(arguments: Sequence[str]) -> CommandLine:
    """Read `--flag value`, `--flag=value` and plain words (ignored), as the vendor's parser does.

    Raises UsageError with the first error.
    """
    known = {_name(option): option for option in fields(Options)}
    values: dict[str, Any] = {}
    wants_help = False
    complaints = []
    words = iter(arguments)
    for word in words:
        name, equals, value = word.removeprefix("--").partition("=")
        option = known.get(name)
        if word in ("--help", "-?"):
            wants_help = True
        elif not word.startswith("--"):
            if word.startswith("-") and word != "-":
                complaints.append(f"undefined short option: {word[:2]}")
        elif option is None:
            complaints.append(f"undefined option: --{name}")
        elif not equals and "bare" in option.metadata:
            values[option.name] = option.metadata["bare"]
        else:
            given = value if equals else next(words, None)
            if given is None:
                complaints.append(f"option needs value: --{name}")
                continue
            try:
                values[option.name] = _read(option, given)
            except ValueError:
                complaints.append(f"option value is invalid: --{name}={given}")
    if complaints and not wants_help:
        raise UsageError(complaints[0])
    return CommandLine(Options(**values), wants_help)


def device_ids(text: str) -> list[int]:
    """Return the card indices in `--devices`.  Raises ValueError where the vendor's stoi aborts."""
    found = [re.match(r"\s*[+-]?\d+", item) for item in text.removesuffix(",").split(",")]
    if not all(found):
        raise ValueError(text)
    return [int(match[0]) for match in found if match]


def usage(program: str) -> str:
    """Return the help text, in the vendor's layout."""
    options = fields(Options)
    width = max(len(_name(option)) for option in options) + 4
    lines = [f"usage: {program} [options] ... ", "options:"]
    lines += [f"      --{_name(option):<{width}}{_described(option)}" for option in options]
    lines.append(f"  -?, --{'help':<{width}}print this message")
    return "\n".join(lines) + "\n" + LENIENT


def _name(option: Field[Any]) -> str:
    return option.name if option.metadata.get("vendor") else option.name.replace("_", "-")


def _described(option: Field[Any]) -> str:
    if option.metadata.get("bare") is True:
        return str(option.metadata["text"])
    default = option.metadata.get("shown", "" if option.default is None else option.default)
    kind = _kind(option)
    shown = f" [={int(default) if kind == 'bool' else default}]" if default != "" else ""
    return f"{option.metadata['text']} ({'string' if kind == 'str' else kind}{shown})"


def _kind(option: Field[Any]) -> str:
    return str(option.type).partition(" ")[0]


def _read(option: Field[Any], text: str) -> str | int | float | bool:
    kind = _kind(option)
    if option.metadata.get("bare") is True:
        raise ValueError("a switch takes no value")
    if kind == "bool":
        if text not in ("0", "1"):
            raise ValueError(text)
        return text == "1"
    if kind in ("int", "float"):
        return int(text) if kind == "int" else float(text)
    return text
