"""What the vendor's program does and prints before its port opens."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from axmock.console import Console, Progress
from axmock.crash import abort, segfault
from axmock.kv_cache import Shape
from axmock.options import Options
from axmock.sampling import Sampling
from axmock.tokenizer_link import TokenizerLink

# Exit statuses that are the low byte of what axclInit returned.  The program calls it first, so its
# log is then empty (observed).
AXCL_INIT = (0x8030010B & 0xFF, 0x80300181 & 0xFF)


def load(
    options: Options,
    shape: Shape,
    *,
    devices: Sequence[int],
    link: TokenizerLink,
    sampling: Sampling,
    console: Console,
) -> int | None:
    """Load the simulated model; return None when it is ready, else the exit code.

    Raises CppException where an uncaught exception ends the vendor's program.
    """
    if options.exit_during_load in AXCL_INIT:
        return options.exit_during_load
    console.info("Init", 130, "LLM init start")
    progress = Progress(console.out, shape.layers + 3, time.monotonic)
    if not link.init():
        console.error("Init", 136, f"tokenizer.Init({options.url_tokenizer_model}) failed")
        return _give_up(console)
    link.reset(options.system_prompt)  # only the tokenizer learns this prompt, never the model
    progress.update(1, "count", "tokenizer init ok")
    if options.use_mmap_load_embed:
        console.info("Init", 45, "LLaMaEmbedSelector use mmap")
    progress.update(2, "count", "embed_selector init ok")
    console.out.write("\n")
    for device in devices:
        console.info("run", 30, f"AXCLWorker start with devid {device}")
        if device < 0:
            segfault()  # it is an index, and only the upper end is checked
        if device >= options.cards:
            message = f"Invalid AXCL device id {device}, find total {options.cards} device."
            console.error("run", 41, message)
            console.error("Init", 176, f"axcl_Init({device}) failed")
            return _give_up(console)
    memory = f"remain_cmm({options.remain_cmm} MB)"
    _load_layers(options, shape, devices=devices, progress=progress, console=console)
    if options.exit_during_load is not None:
        _refuse(console)
        console.error("Init", 210, f"init post axmodel({options.filename_post_axmodel}) failed")
        _give_up(console)
        for device in devices:
            console.info("run", 80, f"AXCLWorker exit with devid {device}")
        return options.exit_during_load
    progress.update(shape.layers + 3, "count", f"init post axmodel ok,{memory}")
    console.out.write("\n")
    _describe(shape, console)
    _memory_table(devices, options.remain_cmm, console)
    sampling.load(Path("post_config.json"), console)
    console.info("Init", 263, "LLM init ok")
    return None


def _load_layers(
    options: Options,
    shape: Shape,
    *,
    devices: Sequence[int],
    progress: Progress,
    console: Console,
) -> None:
    step = options.load_seconds / (shape.layers + 1)
    memory = f"remain_cmm({options.remain_cmm} MB)"
    for count, layer in enumerate(loading_order(shape.layers), 3):
        time.sleep(step)
        device = devices[layer * len(devices) // shape.layers]
        if layer == options.refuse_layer:
            # The program goes on as if nothing had happened (observed); only layer 0 is needed now.
            _refuse(console)
            if layer == 0:
                abort("input tensor not found: mask")
        progress.update(count, "count", f"init {layer} axmodel ok,devid({device}) {memory}")
    time.sleep(step)


def loading_order(layers: int) -> Iterator[int]:
    """Yield the layers in the order of the log: two threads load half of them each."""
    half = (layers + 1) // 2
    for first in range(half):
        if half + first < layers:
            yield half + first
        yield first


def _describe(shape: Shape, console: Console) -> None:
    console.info("Init", 221, f"max_token_len : {shape.max_tokens}")
    sizes = f"kv_cache_size : {shape.kv_cache_size}, kv_cache_num: {shape.max_tokens}"
    console.info("Init", 224, sizes)
    console.info("Init", 232, f"prefill_token_num : {shape.chunk}")
    for group, capacity in enumerate(shape.groups, 1):
        console.info("Init", 236, f"grp: {group}, prefill_max_token_num : {capacity}")
    console.info("Init", 240, f"prefill_max_token_num : {shape.prefill_limit}")


def _memory_table(devices: Sequence[int], remaining: int, console: Console) -> None:
    rows = "".join(f"|{device:6d}|{remaining:15d}|\n" for device in devices)
    console.out.write(
        f"\x1b[1;30;35m{'_' * 24}\n|{'ID':>6}|{'remain cmm(MB)':>15}|\n{'=' * 24}\n"
        f"{rows}{'¯' * 24}\n\x1b[0m"
    )


def _refuse(console: Console) -> None:
    console.error("inference", 301, "AX_ENGINE_CreateHandle")


def _give_up(console: Console) -> int:
    console.error("main", 531, "lLaMa.Init failed")
    return 255
