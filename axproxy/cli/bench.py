"""`ax650 bench`: how fast the model answers, beside what others have published."""

from __future__ import annotations

import argparse
import contextlib
import json
import secrets
import time
import tomllib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from axproxy.cli.service import CommandFailed, ServiceClient, settings_by_hand
from axproxy.cli.terminal import table
from axproxy.preflight.doctor import examine
from axproxy.preflight.finding import Finding
from axproxy.preflight.running_service import find_service

PUBLISHED = Path(__file__).with_name("published.toml")
LENGTHS = (16, 256, 1024)  # words of the prompts, about as many tokens
_ANSWER = 48  # tokens
_SLOWER = 0.85  # of the published speed; below it something is wrong
_TARGET = ("qwen3-4b", 4.0)  # what this project was begun for, in tokens a second
# Checks that explain a slow card, and what to say of them.
_CAUSES = {
    "pcie": "the PCIe link",
    "governor": "the CPU's governor",
    "temperature": "heat",
    "card": "the card itself",
    "cmm": "another user of the card",
    "memory": "too little memory of this machine",
}


@dataclass(frozen=True)
class Speed:
    """One answer.  `prompt` in tokens; `first` in seconds; the speeds in tokens a second."""

    prompt: int
    first: float
    prefill: float
    decode: float


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--model", default="", help="a name of the list of models")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--out", type=Path, help="keep the result in this file")
    parser.add_argument("--compare", type=Path, metavar="FILE", help="a result that was kept")
    parser.epilog = "It asks one question after the other, so it takes a minute or two."


def run(options: argparse.Namespace) -> int:
    """Measure and print; the exit status is 1 if the card is clearly slower than published."""
    settings, _ = settings_by_hand()
    client = ServiceClient(settings)
    before = _read(options.compare) if options.compare else None
    health = client.get("/health")
    model = options.model or health["model"]
    client.call("POST", "/api/generate", {"model": model})  # so that no load is measured
    speeds = [measure(client, model, length) for length in LENGTHS]
    simulated = health["backend_type"] == "mock"
    findings = [] if simulated else examine(settings, find_service(settings))
    said, slow = verdict(model, speeds, findings)
    result = {"model": model, "simulated": simulated, "speeds": [asdict(each) for each in speeds]}
    if options.out:
        options.out.write_text(json.dumps(result, indent=1) + "\n")
    if options.json:
        print(json.dumps({**result, "verdict": said}, indent=1))
    else:
        print(f"{model}{' (a SIMULATOR: the figures say nothing of a card)' if simulated else ''}")
        print(render(speeds, before))
        if "pyaxengine" in health.get("runtime", {}):
            print(outside(client.get("/health")))
        print("\n".join(said))
    return int(slow and not simulated)


def measure(
    client: ServiceClient, model: str, words: int, clock: Callable[[], float] = time.monotonic
) -> Speed:
    """Ask one question of so many words, which no cache can know."""
    text = " ".join(secrets.token_hex(2) for _ in range(4)) + " tell me more" * (words // 3)
    body = {
        "model": model,
        "prompt": text,
        "think": False,
        "options": {"num_predict": _ANSWER, "temperature": 0},
    }
    began, first, last = clock(), None, dict[str, Any]()
    with contextlib.closing(client.lines("/api/generate", body)) as pieces:  # type: ignore[type-var]  # a generator
        for piece in pieces:
            if first is None and piece.get("response"):
                first = clock() - began
            last = piece
    tokens, prompt = last.get("eval_count") or 0, last.get("prompt_eval_count") or 0
    seconds = (last.get("eval_duration") or 0) / 1e9
    reading = (last.get("prompt_eval_duration") or 0) / 1e9
    if first is None or tokens < 2 or not seconds:
        raise CommandFailed(f"{model} answered with {tokens} tokens, which is too few to measure")
    return Speed(prompt, first, prompt / reading if reading else 0.0, (tokens - 1) / seconds)


def render(speeds: Sequence[Speed], before: Mapping[str, Any] | None = None) -> str:
    """Return a table; with the decode speeds of an earlier result, where there is one."""
    earlier = [each["decode"] for each in before["speeds"]] if before else []
    rows = [["PROMPT", "FIRST TEXT", "READING", "ANSWER", *(["BEFORE"] if earlier else [])]]
    for at, each in enumerate(speeds):
        then = [f"{earlier[at]:.2f} tokens/s"] if at < len(earlier) else [""] if earlier else []
        rows.append(
            [
                f"{each.prompt} tokens",
                f"{each.first:.2f} s",
                f"{each.prefill:.0f} tokens/s",
                f"{each.decode:.2f} tokens/s",
                *then,
            ]
        )
    return table(rows)


def outside(health: Mapping[str, Any]) -> str:
    """Return what PyAXEngine's calls cost; empty before the first answer of its worker."""
    work = health["runtime"]["pyaxengine"]
    if "outside_share" not in work:
        return ""
    return (
        f"PyAXEngine: {work['calls_per_token']:.0f} calls for each token, "
        f"{100 * work['outside_share']:.1f} % of its time outside them."
    )


def verdict(
    model: str, speeds: Sequence[Speed], findings: Sequence[Finding] = ()
) -> tuple[list[str], bool]:
    """Return what to say of the result, and whether the card is clearly slower than published."""
    best = max(each.decode for each in speeds)
    known = published_for(model)
    if known is None:
        return [f"No speed of {model} has been published that is known here."], False
    name, figures = known
    said = [
        f"Published for {name} on a Raspberry Pi 5: {figures['tokens']} tokens/s, "
        f"first token after {figures['first']} s. Here: {best:.2f} tokens/s."
    ]
    if name == _TARGET[0]:
        reached = "is reached" if best > _TARGET[1] else "is not reached, nor by what is published"
        said.append(f"The target of more than {_TARGET[1]:.0f} tokens/s {reached}.")
    slow = best < _SLOWER * figures["tokens"]
    if not slow:
        return [*said, "The card is as fast as it should be."], False
    causes = [
        f"{_CAUSES[finding.name]}: {finding.seen}"
        for finding in findings
        if finding.name in _CAUSES and finding.verdict in ("warn", "fail")
    ]
    unknown = ["nothing that the doctor knows of; compare with a freshly started machine"]
    said.append(f"The card is slower than it should be. Likely: {'; '.join(causes or unknown)}.")
    return said, True


def published_for(model: str) -> tuple[str, Mapping[str, float]] | None:
    """Return the published figures of a model; builds with 4 bits have none."""
    name = model.lower().removesuffix(":latest").replace(":", "-")
    known: dict[str, Mapping[str, float]] = tomllib.loads(PUBLISHED.read_text())
    return next(((each, known[each]) for each in known if name == each), None)


def _read(file: Path) -> Mapping[str, Any]:
    try:
        result: Mapping[str, Any] = json.loads(file.read_text())
        return {"speeds": [{"decode": float(each["decode"])} for each in result["speeds"]]}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CommandFailed(f"{file} is no result that --out has kept ({error})") from error
