"""How many connections the system lets us have open."""

from __future__ import annotations

import resource

_FOR_OTHERS = 200  # descriptors: logs, pipes, our own calls to the children


def room_for_connections(wanted: int) -> int:
    """As many of `wanted` as there is room for, once our limit of descriptors is as high as we may
    set it; many systems start programs with 1024."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = wanted + _FOR_OTHERS
    if soft != resource.RLIM_INFINITY and soft < needed:
        soft = needed if hard == resource.RLIM_INFINITY else min(needed, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    room = wanted if soft == resource.RLIM_INFINITY else soft - _FOR_OTHERS
    return max(min(wanted, room), 32)
