"""`ax650 chat`: a conversation in the terminal, or one question and its answer."""

from __future__ import annotations

import argparse
import contextlib
import sys
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from axproxy.cli.service import CommandFailed, NotRunning, ServiceClient, settings_by_hand
from axproxy.cli.terminal import coloured
from axproxy.printable import printable

_DIM = "2"
HELP = """\
/system TEXT   a system prompt from now on; /system alone removes it
/think, /nothink   whether the model thinks before it answers; /think auto leaves it to the service
/clear         forget the conversation
/bye           leave, as Ctrl-D does; Ctrl-C stops an answer
\"\"\"            begins and ends a message of several lines"""

Message = dict[str, str]


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("question", nargs="*", help="ask this and end; without it, talk")
    parser.add_argument("--model", default="", help="a name of the list of models")
    parser.add_argument("--system", default="", metavar="TEXT", help="a system prompt")
    thinking = parser.add_mutually_exclusive_group()
    thinking.add_argument(
        "--think", action="store_true", default=None, help="let the model think before it answers"
    )
    thinking.add_argument(
        "--no-think", dest="think", action="store_false", help="have it answer at once"
    )
    parser.add_argument("--hide-thinking", action="store_true", help="do not print thoughts")
    parser.epilog = "Text on standard input is added to the question."


def run(options: argparse.Namespace) -> int:
    settings, _ = settings_by_hand()
    client = ServiceClient(settings)
    model = options.model or _default_model(client)
    talk = TerminalChat(client, model, options.system, options.think)
    talk.show_thinking = not options.hide_thinking
    question = " ".join(options.question)
    if not sys.stdin.isatty():
        question = f"{question}\n\n{sys.stdin.read()}".strip()
        if not question:
            raise CommandFailed(
                "there is no question; give one as an argument or on standard input"
            )
    if question:
        talk.ask(question)
        return 0
    return talk.converse(_lines())


def _default_model(client: ServiceClient) -> str:
    models = client.get("/api/ps")["models"] or client.get("/api/tags")["models"]
    if not models:
        raise CommandFailed("there is no model yet; get one with pull, such as: pull qwen3:1.7b")
    name: str = models[0]["name"]
    return name


class TerminalChat:
    """The messages so far, and what the user has chosen."""

    def __init__(
        self, client: ServiceClient, model: str, system: str = "", think: bool | None = None
    ) -> None:
        self.show_thinking = True
        self._client = client
        self._model = model
        self._system = system
        self._think = think
        self._messages: list[Message] = []

    def converse(self, lines: Iterable[str]) -> int:
        """Answer each message until the lines end or the user leaves."""
        _write(f"Talking to {printable(self._model)}. /? lists the commands, Ctrl-D leaves.\n")
        for line in lines:
            word, _, rest = line.strip().partition(" ")
            if word in ("/bye", "/exit", "/quit"):
                return 0
            if word.startswith("/"):
                _write(self._command(word, rest.strip()) + "\n")
            elif line.strip():
                try:
                    self.ask(line)
                except NotRunning:
                    raise
                except CommandFailed as error:
                    _write(f"{error}\n")
        _write("\n")
        return 0

    def ask(self, question: str) -> None:
        """Print the answer as it comes.  Ctrl-C stops it; what came of it stays in the history."""
        self._messages.append({"role": "user", "content": question})
        body: dict[str, Any] = {"model": self._model, "messages": self._sent()}
        if self._think is not None:
            body["think"] = self._think
        pieces = self._client.lines("/api/chat", body)
        answer: list[str] = []
        try:
            with contextlib.closing(pieces):  # type: ignore[type-var]  # it is a generator
                self._print(pieces, answer)
        except KeyboardInterrupt:
            _write(coloured("\n(stopped)", _DIM) + "\n")
        except CommandFailed:
            if not answer:
                self._messages.pop()  # asking again must not send it twice
            raise
        finally:
            if answer:
                self._messages.append({"role": "assistant", "content": "".join(answer)})

    def _sent(self) -> list[Message]:
        system = [{"role": "system", "content": self._system}] if self._system else []
        return [*system, *self._messages]

    def _print(self, pieces: Iterator[dict[str, Any]], answer: list[str]) -> None:
        thinking = False
        for piece in pieces:
            message = piece.get("message") or {}
            thought, text = message.get("thinking") or "", message.get("content") or ""
            if thought and self.show_thinking:
                _write(coloured(printable(thought), _DIM))
                thinking = True
            if text:
                if thinking:
                    _write("\n\n")
                    thinking = False
                answer.append(text)
                _write(printable(text))
            for call in message.get("tool_calls") or ():
                _write(printable(f"\n(calls {call['function']['name']})"))
            if thought or text:
                sys.stdout.flush()
            if piece.get("done"):
                _write("\n")
                if sys.stdout.isatty():
                    _write(coloured(speed(piece), _DIM) + "\n")

    def _command(self, word: str, rest: str) -> str:
        if word == "/system":
            self._system = rest
            return "the system prompt is set" if rest else "there is no system prompt now"
        if word in ("/think", "/nothink"):
            self._think = None if rest == "auto" else word == "/think"
            return "the service decides" if rest == "auto" else f"thinking: {word == '/think'}"
        if word == "/clear":
            self._messages.clear()
            return "the conversation is forgotten"
        return HELP if word in ("/?", "/help") else f"there is no {word}; /? lists the commands"


def speed(last: Mapping[str, Any]) -> str:
    """Return one line about an answer, from the last object of its stream."""
    tokens, seconds = last.get("eval_count") or 0, (last.get("eval_duration") or 0) / 1e9
    first = ((last.get("load_duration") or 0) + (last.get("prompt_eval_duration") or 0)) / 1e9
    rate = f", {tokens / seconds:.1f} tokens/s" if tokens > 1 and seconds else ""
    reason = ", cut at the limit" if last.get("done_reason") == "length" else ""
    return f"({tokens} tokens{rate}, {first:.1f} s before the first{reason})"


def _write(text: str) -> None:
    sys.stdout.write(text)


def _lines() -> Iterator[str]:
    """Yield what the user types; three quotes enclose several lines."""
    with contextlib.suppress(ImportError):
        import readline  # noqa: F401, PLC0415 - gives input() a history, and is missing in places
    while True:
        try:
            line = input(">>> ")
            if line.startswith('"""'):
                parts = [line[3:]]
                while not parts[-1].rstrip().endswith('"""'):
                    parts.append(input("... "))
                line = "\n".join(parts).rstrip().removesuffix('"""')
        except EOFError:
            return
        except KeyboardInterrupt:
            print()
            continue
        yield line
