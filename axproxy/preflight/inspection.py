"""One run of the checks: each within its time, none able to fell the others."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterable, Sequence

from axproxy.preflight.checks import Check
from axproxy.preflight.context import CheckContext
from axproxy.preflight.finding import Finding

CHECK_TIMEOUT = 30.0  # seconds for one check: a dead card or network disk can hold it for ever

# Without a card there is nothing for axcl-smi to show, and without the driver no device: three
# remedies for one trouble send a person the wrong way twice.
# The check that fails, and those of which that is a mere consequence, the deepest first.
_CAUSES = {"device-node": ("driver",), "card": ("pcie", "driver")}

log = logging.getLogger(__name__)


class Inspection:
    """Runs checks; one that hung is not begun again while it still hangs.

    Belongs to one thread at a time.
    """

    def __init__(self, checks: Sequence[Check], timeout: float = CHECK_TIMEOUT) -> None:
        self._checks = checks
        self._timeout = timeout
        self._hanging: dict[tuple[str, ...], threading.Thread] = {}

    def run(self, context: CheckContext) -> list[Finding]:
        """All findings, in the order of the checks."""
        skipped = set(context.settings.preflight_skip)
        findings: list[Finding] = []
        for check in self._checks:
            left_out = [name for name in check.names if name in skipped]
            findings += [
                Finding(name, "skip", "left out by AX650_PREFLIGHT_SKIP") for name in left_out
            ]
            if len(left_out) < len(check.names):
                found = self._within_timeout(check, context)
                findings += [finding for finding in found if finding.name not in skipped]
        return told_once(findings)

    def _within_timeout(self, check: Check, context: CheckContext) -> list[Finding]:
        found: list[Finding] = []
        thread = self._hanging.get(check.names)
        if thread is None or not thread.is_alive():
            thread = threading.Thread(
                target=lambda: found.extend(_look(check, context)), name="check", daemon=True
            )
            self._hanging[check.names] = thread
            thread.start()
            thread.join(self._timeout)
        if not thread.is_alive():
            return found
        return [
            Finding(
                check.names[0],
                "warn",
                f"this check has not ended within {self._timeout:g} s",
                f"if it goes on so: AX650_PREFLIGHT_SKIP={','.join(check.names)}",
            )
        ]


def _look(check: Check, context: CheckContext) -> Iterable[Finding]:
    try:
        found = check.look(context)
        return [found] if isinstance(found, Finding) else list(found)
    except Exception as error:  # a check that stumbles must not keep a working card from starting
        log.exception("the check %s stumbled", check.names[0])
        return [
            Finding(
                check.names[0],
                "warn",
                f"this check stumbled: {error!r}",
                f"report it, and meanwhile AX650_PREFLIGHT_SKIP={','.join(check.names)}",
            )
        ]


def told_once(findings: Sequence[Finding]) -> list[Finding]:
    """The same findings; a failed one whose cause has failed as well only says where to look.

    Something still fails, so what may not be started still is not.
    """
    failed = {finding.name for finding in findings if finding.verdict == "fail"}
    return [_pointing(finding, failed) for finding in findings]


def _pointing(finding: Finding, failed: set[str]) -> Finding:
    cause = next((name for name in _CAUSES.get(finding.name, ()) if name in failed), None)
    if cause is None or finding.verdict != "fail":
        return finding
    return Finding(finding.name, "skip", f"{finding.seen}; see {cause}")
