"""`ax650 models`: the models that clients can ask for."""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from typing import Any

from axproxy.cli.service import ServiceClient, settings_by_hand
from axproxy.cli.terminal import size_text, table
from axproxy.printable import printable


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="print the body of GET /api/tags")


def run(options: argparse.Namespace) -> int:
    settings, _ = settings_by_hand()
    client = ServiceClient(settings)
    tags = client.get("/api/tags")
    if options.json:
        print(json.dumps(tags, indent=2, ensure_ascii=False))
        return 0
    loaded = [model["name"] for model in client.get("/api/ps")["models"]]
    print(render(tags["models"], loaded) if tags["models"] else _NONE)
    return 0


_NONE = "There is no model yet; get one with pull, such as: pull qwen3:1.7b"


def render(models: Sequence[Mapping[str, Any]], loaded: Sequence[str]) -> str:
    """Return a table of the entries of `GET /api/tags`; `loaded` are the names on the card."""
    rows = [("NAME", "SIZE", "PARAMETERS", "WEIGHTS", "STATE")]
    for model in models:
        details = model["details"]
        rows.append(
            (
                printable(model["name"]),
                size_text(model["size"]) if model["size"] else "-",
                details["parameter_size"],
                details["quantization_level"],
                "loaded" if model["name"] in loaded else "",
            )
        )
    return table(rows)
