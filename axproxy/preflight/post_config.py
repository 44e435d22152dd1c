"""`post_config.json`: the sampling values that the vendor's program starts with."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from axproxy.preflight.finding import Finding

# What the program reads of post_config.json: without one of them it aborts (vendor's source).
_SAMPLING: dict[str, tuple[type, ...]] = {
    "enable_temperature": (bool,),
    "temperature": (int, float),
    "enable_repetition_penalty": (bool,),
    "repetition_penalty": (int, float),
    "penalty_window": (int, float),
    "enable_top_p_sampling": (bool,),
    "top_p": (int, float),
    "enable_top_k_sampling": (bool,),
    "top_k": (int, float),
}


def check_post_config(folder: Path) -> Iterator[Finding]:
    file = folder / "post_config.json"
    remedy = f"copy {file.name} from the model's page to {shlex.quote(str(folder))}"
    try:
        config: Any = json.loads(file.read_text())
    except FileNotFoundError:
        # The program warns and goes on; we send every sampling value with every request.
        yield Finding("model-folder", "warn", f"there is no {file}", remedy)
        return
    except (OSError, ValueError) as error:
        yield Finding("model-folder", "fail", f"{file} is not JSON ({error})", remedy)
        return
    entry = config if isinstance(config, dict) else {}
    bad = [
        key
        for key, types in _SAMPLING.items()
        if key not in entry
        or not isinstance(entry[key], types)
        or (isinstance(entry[key], bool) and bool not in types)
    ]
    if bad:
        yield Finding(
            "model-folder",
            "fail",
            f"{file} lacks {', '.join(bad)}, without which the program aborts",
            remedy,
        )
