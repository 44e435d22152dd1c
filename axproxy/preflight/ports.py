"""Checks that the two ports are free; names the programs that hold them and how to stop them."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass

import psutil

from axproxy.preflight.context import CheckContext
from axproxy.preflight.finding import Finding
from axproxy.process.ports import PortHolder

# M5Stack's images run it as root, so other users see no pid for its port.
_STACKFLOW, _STACKFLOW_PORT = "llm-openai-api", 8000
_STACKFLOW_PIDS = f"/sys/fs/cgroup/system.slice/{_STACKFLOW}.service/cgroup.procs"
_RUNTIME = re.compile(r"(main(_api)?_(axcl|ax650)\w*|axllm)$")
_TOKENIZER = re.compile(r"(\w*tokenizer\w*\.py|axproxy\.tokenizer([._]server)?)$")


@dataclass(frozen=True)
class Port:
    """A port; `setting` is the variable that changes it, or `None` if the program has it fixed."""

    number: int
    setting: str | None


def check_ports(context: CheckContext) -> list[Finding]:
    """Check that no other program holds the ports of the runtime and the tokenizer.

    If its port is taken, the vendor's program loads for two minutes, reports that it is running,
    and exits with status 0; or it shares the port with an older copy of itself (observed on the
    binary).
    """
    settings = context.settings
    if settings.runtime_kind == "attach":
        return _check_attached(context)
    one = context.runtime == "axllm"  # it has its tokenizer inside
    fixed = settings.runtime_kind == "vendor" and not one
    wanted = [Port(settings.runtime_port, None if fixed else "AX650_RUNTIME_PORT")]
    if context.runtime == "axengine":  # its worker has a private socket
        one, wanted = True, [Port(settings.tokenizer_port, "AX650_TOKENIZER_PORT")]
    elif not one:
        wanted.append(Port(settings.tokenizer_port, "AX650_TOKENIZER_PORT"))
    findings = [finding for port in wanted for finding in check_port(context, port)]
    numbers = " and ".join(str(port.number) for port in wanted)
    ports = "port" if one else "ports"
    return findings or [Finding("ports", "ok", f"no other program holds {ports} {numbers}")]


def check_port(context: CheckContext, port: Port) -> list[Finding]:
    """Return one finding for each other program that holds the port; none if it is free."""
    try:
        holders = context.other_holders(port.number, context.owner)
    except (OSError, psutil.Error) as error:
        return [_unknown_holder(port.number, error)]
    return [_finding(context, port, holder) for holder in holders]


def _check_attached(context: CheckContext) -> list[Finding]:
    """Check that the programs to attach to are running; findings are in the order of starting."""
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
            findings.append(_unknown_holder(port, error))
            continue
        if missing:
            seen = f"no program holds port {port}, and AX650_RUNTIME=attach starts none"
            findings.append(Finding("ports", "fail", seen, remedy))
    numbers = " and ".join(map(str, remedies))
    return findings or [
        Finding("ports", "ok", f"ports {numbers} are held by programs to attach to")
    ]


def _unknown_holder(port: int, error: Exception) -> Finding:
    seen = f"cannot see which program holds port {port} ({error})"
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
        # On SIGINT it unloads its model; a kill while it works can leave the card dead.
        name, remedy = (
            f"{program} (pid {holder.pid}), left from an earlier run",
            f"kill -INT {holder.pid}",
        )
    elif script:
        name, remedy = (
            f"{script} (pid {holder.pid}), left from an earlier run",
            f"kill {holder.pid}",
        )
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
