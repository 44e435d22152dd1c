"""The sampling settings: read from post_config.json, changed by requests, kept until the end."""

from __future__ import annotations

import json
import math
import struct
from dataclasses import dataclass
from pathlib import Path

from axmock import json_values
from axmock.console import Console
from axmock.json_values import Json


@dataclass
class Sampling:
    """Settings of the vendor's sampler.

    The simulated reply is fixed, so they have no effect on it.  They stay for later requests, and
    the log shows them exactly as the vendor's does.
    """

    temperature: float | None = None
    repetition_penalty: float | None = None
    top_p: float | None = None
    top_k: int | None = None

    def load(self, path: Path, console: Console) -> None:
        """Read post_config.json and log it; without the file, sampling is greedy.

        Raises CppException for a file that is not JSON or lacks a key, which ends the process.
        """
        try:
            raw = path.read_bytes()
        except OSError:
            console.error("load_config", 278, f"config file({path}) open failed")
            console.warn("Init", 259, f"load postprocess config({path}) failed")
            return
        config = json_values.parse_or_throw(raw)
        shown = json.dumps(config, indent=4, sort_keys=True, ensure_ascii=False)
        console.info("load_config", 282, f"load config: \n{shown}\n")
        enabled = {
            name: json_values.as_boolean(json_values.member(config, f"enable_{name}"))
            for name in ("temperature", "repetition_penalty", "top_p_sampling", "top_k_sampling")
        }
        number = {
            name: json_values.as_number(json_values.member(config, name))
            for name in ("temperature", "repetition_penalty", "penalty_window", "top_p", "top_k")
        }
        self.temperature = number["temperature"] if enabled["temperature"] else None
        self.repetition_penalty = (
            number["repetition_penalty"] if enabled["repetition_penalty"] else None
        )
        self.top_p = number["top_p"] if enabled["top_p_sampling"] else None
        self.top_k = int(number["top_k"]) if enabled["top_k_sampling"] else None

    def apply(self, body: Json, console: Console) -> None:
        """Apply the keys of a request, in the vendor's order.

        Raises CppException at a key of the wrong type; the keys before it stay applied.
        """
        if not isinstance(body, dict):
            return
        if "temperature" in body:
            self._set_temperature(_float(body["temperature"]), console)
        if "repetition_penalty" in body:
            self._set_repetition_penalty(_float(body["repetition_penalty"]), console)
        if "top-p" in body:
            self._set_top_p(_float(body["top-p"]), console)
        if "top-k" in body:
            self._set_top_k(json_values.as_int(body["top-k"]), console)

    def _set_temperature(self, value: float, console: Console) -> None:
        console.info("set_llm_config", 278, f"temperature: {value:f}")
        if value > 0:
            self.temperature = value
        else:
            console.error("set_llm_config", 285, f"temperature: {value:f} is invalid")
            self.temperature = None

    def _set_repetition_penalty(self, value: float, console: Console) -> None:
        console.info("set_llm_config", 292, f"repetition_penalty: {value:f}")
        if _float(value - 1) < 0.0001:  # so 1.0 keeps the old setting and 1.0001 replaces it
            console.info("set_llm_config", 295, f"repetition_penalty: {value:f} is skip")
        else:
            self.repetition_penalty = value

    def _set_top_p(self, value: float, console: Console) -> None:
        console.info("set_llm_config", 305, f"top-p: {value:f}")
        self.top_k = None
        if 0 < value < 1:
            self.top_p = value
        else:
            console.error("set_llm_config", 312, f"top-p: {value:f} is invalid")
            self.top_p = None

    def _set_top_k(self, value: int, console: Console) -> None:
        console.info("set_llm_config", 319, f"top-k: {value}")
        self.top_p = None
        if value > 0:
            self.top_k = value
        else:
            console.error("set_llm_config", 326, f"top-k: {value} is invalid")
            self.top_k = None


def _float(value: Json) -> float:
    """Return a number as a C float; the comparisons above depend on its 24 bits."""
    number = json_values.as_number(value)
    try:
        single: float = struct.unpack("f", struct.pack("f", number))[0]
    except OverflowError:
        return math.copysign(math.inf, number)
    return single
