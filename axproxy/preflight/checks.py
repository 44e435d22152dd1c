"""The list of checks: their names, their order, and which of them each runtime needs."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from axproxy.preflight.api_keys import check_api_keys
from axproxy.preflight.axengine import check_axengine_library, check_axengine_package
from axproxy.preflight.binary import check_binary
from axproxy.preflight.card import CARD_NAMES, check_cards
from axproxy.preflight.cma import check_cma
from axproxy.preflight.context import CheckContext
from axproxy.preflight.driver import check_device_node, check_driver
from axproxy.preflight.finding import Finding
from axproxy.preflight.host import (
    check_governor,
    check_log_folder,
    check_memory,
    check_temperature,
)
from axproxy.preflight.kernel_log import check_kernel_log
from axproxy.preflight.libraries import check_libraries
from axproxy.preflight.model import check_model_folder
from axproxy.preflight.pcie import check_pcie
from axproxy.preflight.ports import check_ports
from axproxy.preflight.store import check_store
from axproxy.settings import Settings, SettingsError

CheckFunction = Callable[[CheckContext], Finding | Iterable[Finding]]


def _either(program: CheckFunction, library: CheckFunction) -> CheckFunction:
    """Return the check of the vendor's program, or of PyAXEngine where that computes."""
    return lambda context: (library if context.runtime == "axengine" else program)(context)


@dataclass(frozen=True)
class Check:
    """A check; `names` are all the names that its findings can have."""

    names: tuple[str, ...]
    run: CheckFunction


# In the order in which a person fixes things: the files, the driver, the card, the host.
CHECKS = (
    Check(("binary",), _either(check_binary, check_axengine_package)),
    Check(("libraries",), _either(check_libraries, check_axengine_library)),
    Check(("model-folder",), check_model_folder),
    Check(("models-dir",), check_store),
    Check(("pcie",), check_pcie),
    Check(("driver",), check_driver),
    Check(("device-node",), check_device_node),
    Check(("kernel-log",), check_kernel_log),
    Check(CARD_NAMES, check_cards),
    Check(("cma",), check_cma),
    Check(("ports",), check_ports),
    Check(("memory",), check_memory),
    Check(("temperature",), check_temperature),
    Check(("governor",), check_governor),
    Check(("log-folder",), check_log_folder),
    Check(("api-keys",), check_api_keys),
)
CHECK_NAMES = tuple(name for check in CHECKS for name in check.names)
_WITHOUT_A_CARD = {"ports", "api-keys"}
_OF_THE_CARD = {"pcie", "driver", "device-node", "kernel-log", *CARD_NAMES, "cma"}
_OF_THE_FILES = {"binary", "libraries", "model-folder"}


def checks_for(kind: str, *, card: bool = True) -> tuple[Check, ...]:
    """Return the checks before a launch of this kind of runtime, on a `card` or on a board."""
    if kind == "vendor":
        return CHECKS if card else tuple(c for c in CHECKS if _OF_THE_CARD.isdisjoint(c.names))
    return tuple(check for check in CHECKS if _WITHOUT_A_CARD.issuperset(check.names))


def require_model(settings: Settings) -> None:
    """Raise `SettingsError` if a model is missing, none can come, and no simulator may answer.

    Where there is a store, the service starts without a model.
    """
    if not settings.lacks_model or settings.names_store:
        return
    (finding,) = check_model_folder(CheckContext(settings, Path("/"), owner=None))
    raise SettingsError(
        f"{finding.seen}; {finding.remedy}, or AX650_RUNTIME to mock to use the simulator"
    )


def require_known_checks(settings: Settings) -> None:
    """Raise `SettingsError` if `AX650_PREFLIGHT_SKIP` names a check that does not exist."""
    for name in settings.preflight_skip:
        if name not in CHECK_NAMES:
            near = difflib.get_close_matches(name, CHECK_NAMES, n=1, cutoff=0.5)
            hint = f" (did you mean {near[0]}?)" if near else ""
            raise SettingsError(
                f"AX650_PREFLIGHT_SKIP must be names of checks: {', '.join(CHECK_NAMES)}{hint}, "
                f"not {','.join(settings.preflight_skip)!r}"
            )


def why_unloadable(settings: Settings) -> str | None:
    """Return why the model of these settings cannot be loaded, as far as its files show."""
    context = CheckContext(settings, Path("/"), owner=None)
    for check in CHECKS:
        if not _OF_THE_FILES.issuperset(check.names):
            continue
        found = check.run(context)
        for finding in [found] if isinstance(found, Finding) else found:
            if finding.verdict == "fail" and finding.name not in settings.preflight_skip:
                return f"{finding.seen}; {finding.remedy}"
    return None
