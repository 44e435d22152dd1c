"""One trouble, one finding: what only follows from another finding points to it.

Without a card there is nothing for axcl-smi to show, and without the driver no device: three
remedies for one trouble send a person the wrong way twice.
"""

from __future__ import annotations

from collections.abc import Sequence

from axproxy.preflight.finding import Finding

# The check that fails, and those of which that is a mere consequence, the deepest first.
_CAUSES = {"device-node": ("driver",), "card": ("pcie", "driver")}


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
