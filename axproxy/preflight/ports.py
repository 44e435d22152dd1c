"""Whether the two ports are free, and who is on them and how to make them leave."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass

import psutil

from axproxy.preflight.context import CheckContext
from axproxy.preflight.finding import Finding
from axproxy.process.ports import PortHolder

# M5Stack's images run it as root, so another user sees a port held by nobody.
_STACKFLOW, _STACKFLOW_PORT = "llm-openai-api", 8000
_STACKFLOW_PIDS = f"/sys/fs/cgroup/system.slice/{_STACKFLOW}.service/cgroup.procs"
_RUNTIME = re.compile(r"(main(_api)?_(axcl|ax650)\w*|axllm)$")
_TOKENIZER = re.compile(r"(\w*tokenizer\w*\.py|axproxy\.tokenizer([._]server)?)$")


@dataclass(frozen=True)
class Port:
    """`setting` moves it; `None` where the program behind it cannot be moved."""

    number: int
    setting: str | None


def check_ports(context: CheckContext) -> list[Finding]:
    """The vendor's program must not find its port taken: it would load for two minutes, say that it
    is running, and exit with status 0; or share the port with an older copy of itself
    (observed on the vendor's binary)."""
    settings = context.settings
    if settings.runtime_kind == "attach":
        return _to_attach_to(context)
    fixed = settings.runtime_kind == "vendor"
    wanted = [
        Port(settings.runtime_port, None if fixed else "AX650_RUNTIME_PORT"),
        Port(settings.tokenizer_port, "AX650_TOKENIZER_PORT"),
    ]
    findings = [finding for port in wanted for finding in held(context, port)]
    numbers = " and ".join(str(port.number) for port in wanted)
    return findings or [Finding("ports", "ok", f"nobody else holds ports {numbers}")]


def held(context: CheckContext, port: Port) -> list[Finding]:
    """One finding for each program that holds the port; none when it is free."""
    try:
        holders = context.other_holders(port.number, context.owner)
    except (OSError, psutil.Error) as error:
        return [_unseen(port.number, error)]
    return [_finding(context, port, holder) for holder in holders]


def _to_attach_to(context: CheckContext) -> list[Finding]:
    """What somebody else must have started, in the order in which it must be."""
    settings = context.settings
    remedies = {
        settings.tokenizer_port: "./start_tokenizer.sh",
        settings.runtime_port: "start the runtime, or unset AX650_RUNTIME to have it started",
    }
    findings = []
    for port, remedy in remedies.items():
        try:
            missing = not context.other_holders(port, context.owner)
        except (OSError, psutil.Error) as error:
            findings.append(_unseen(port, error))
            continue
        if missing:
            seen = f"nobody holds port {port}, and AX650_RUNTIME=attach starts nothing"
            findings.append(Finding("ports", "fail", seen, remedy))
    numbers = " and ".join(map(str, remedies))
    return findings or [Finding("ports", "ok", f"somebody holds ports {numbers} to attach to")]


def _unseen(port: int, error: Exception) -> Finding:
    seen = f"cannot see who holds port {port} ({error})"
    return Finding("ports", "fail", seen, f"sudo ss -ltnp 'sport = :{port}'")


def _finding(context: CheckContext, port: Port, holder: PortHolder) -> Finding:
    name, remedy = str(holder), f"sudo ss -ltnp 'sport = :{port.number}'  # then stop it"
    words = _command_line(holder)
    program = next((found[0] for word in words if (found := _RUNTIME.search(word))), None)
    script = next((found[0] for word in words if (found := _TOKENIZER.search(word))), None)
    if _is_stackflow(context, port, holder, words):
        who = f" (pid {holder.pid})" if holder.pid else ""
        name, remedy = f"{_STACKFLOW}{who}", f"sudo systemctl disable --now {_STACKFLOW}"
    elif program:
        # SIGINT lets it unload; killed in the middle of work it can take the card with it.
        name, remedy = f"{program} (pid {holder.pid}), left from earlier", f"kill -INT {holder.pid}"
    elif script:
        name, remedy = f"{script} (pid {holder.pid}), left from earlier", f"kill {holder.pid}"
    elif holder.pid is not None:
        remedy = f"kill {holder.pid}"
    if port.setting:
        remedy = f"stop it ({remedy}), or choose another port with {port.setting}"
    return Finding("ports", "fail", f"port {port.number} is held by {name}", remedy)


def _command_line(holder: PortHolder) -> list[str]:
    if holder.pid is None:
        return []
    try:
        process = psutil.Process(holder.pid)
        return [process.name(), *process.cmdline()[:4]]
    except psutil.Error:
        return []


def _is_stackflow(context: CheckContext, port: Port, holder: PortHolder, words: list[str]) -> bool:
    pids = context.text(_STACKFLOW_PIDS).split()
    if holder.pid is None:
        return bool(pids) and port.number == _STACKFLOW_PORT
    return str(holder.pid) in pids or any(os.path.basename(w) == _STACKFLOW for w in words)
