"""Runs the checks, each with a time limit; a check that crashes does not stop the others."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterable, Sequence

from axproxy.preflight.checks import Check
from axproxy.preflight.context import CheckContext
from axproxy.preflight.finding import Finding

CHECK_TIMEOUT = 30.0  # seconds; a dead card or network disk can block a check for ever

# A failed check, and the checks whose failure causes it, the most basic first.  Without a card
# axcl-smi has nothing to show, and without the driver there is no device: three remedies for one
# problem would mislead a person twice.
_CAUSES = {"device-node": ("driver",), "card": ("pcie", "driver")}

log = logging.getLogger(__name__)


class Inspection:
    """Runs the checks; a check that hangs is not started again while it still hangs.

    Only one thread at a time may use it.
    """

    def __init__(self, checks: Sequence[Check], timeout: float = CHECK_TIMEOUT) -> None:
        self._checks = checks
        self._timeout = timeout
        self._hanging: dict[tuple[str, ...], threading.Thread] = {}

    def run(self, context: CheckContext) -> list[Finding]:
        """Return all findings, in the order of the checks."""
        skipped = set(context.settings.preflight_skip)
        findings: list[Finding] = []
        for check in self._checks:
            skipped_names = [name for name in check.names if name in skipped]
            findings += [
                Finding(name, "skip", "skipped by AX650_PREFLIGHT_SKIP") for name in skipped_names
            ]
            if len(skipped_names) < len(check.names):
                found = self._within_timeout(check, context)
                findings += [finding for finding in found if finding.name not in skipped]
        return with_causes(findings)

    def _within_timeout(self, check: Check, context: CheckContext) -> list[Finding]:
        found: list[Finding] = []
        thread = self._hanging.get(check.names)
        if thread is None or not thread.is_alive():
            thread = threading.Thread(
                target=lambda: found.extend(_run(check, context)), name="check", daemon=True
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
                f"this check did not finish within {self._timeout:g} s",
                f"if it happens again, set AX650_PREFLIGHT_SKIP={','.join(check.names)}",
            )
        ]


def _run(check: Check, context: CheckContext) -> Iterable[Finding]:
    try:
        found = check.run(context)
        return [found] if isinstance(found, Finding) else list(found)
    except Exception as error:  # a bug in a check must not keep a working card from starting
        log.exception("the check %s crashed", check.names[0])
        return [
            Finding(
                check.names[0],
                "warn",
                f"this check crashed: {error!r}",
                f"report it, and meanwhile set AX650_PREFLIGHT_SKIP={','.join(check.names)}",
            )
        ]


def with_causes(findings: Sequence[Finding]) -> list[Finding]:
    """Return the findings; a failure whose cause failed too becomes a skip that names the cause.

    The cause still fails, so the runtime is still not started.
    """
    failed = {finding.name for finding in findings if finding.verdict == "fail"}
    return [_with_cause(finding, failed) for finding in findings]


def _with_cause(finding: Finding, failed: set[str]) -> Finding:
    cause = next((name for name in _CAUSES.get(finding.name, ()) if name in failed), None)
    if cause is None or finding.verdict != "fail":
        return finding
    return Finding(finding.name, "skip", f"{finding.seen}; see {cause}")
