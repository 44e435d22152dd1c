"""Where the driver package puts its programs and libraries, which only login shells are told."""

from __future__ import annotations

import os
from collections.abc import Mapping

PROGRAMS = "/usr/bin/axcl"
LIBRARIES = "/usr/lib/axcl"


def with_axcl(environ: Mapping[str, str]) -> dict[str, str]:
    """For any program of the card's: what /etc/profile.d adds, and no renumbering of the cards.

    Newer drivers hide cards named in AXCL_VISIBLE_DEVICES from programs but not from `axcl-smi`,
    so that the index that it shows would be another card's.
    """
    complete = {name: value for name, value in environ.items() if name != "AXCL_VISIBLE_DEVICES"}
    complete["PATH"] = f"{environ.get('PATH', os.defpath)}:{PROGRAMS}"
    libraries = environ.get("LD_LIBRARY_PATH", "")
    complete["LD_LIBRARY_PATH"] = f"{libraries}:{LIBRARIES}".lstrip(":")
    return complete
