#!/usr/bin/env python3
"""Simulates the vendor's runtime main_api_axcl_aarch64 without a card, with faults on request."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from pathlib import Path

from axmock.console import Console
from axmock.crash import CppException, prepare_to_crash, terminate
from axmock.engine import Engine
from axmock.faults import EngineFaults, ModelFaults, PollFaults
from axmock.kv_cache import KvCache, Shape
from axmock.model import Model
from axmock.options import Options, UsageError, device_ids, parse, usage
from axmock.pace import Pace
from axmock.reply import ReplyScript
from axmock.routes import Routes
from axmock.sampling import Sampling
from axmock.server import Server
from axmock.startup import load
from axmock.stdout import Stdout
from axmock.tokenizer_link import TokenizerLink


class Program:
    """The parts of one process, wired together."""

    def __init__(self, options: Options, devices: list[int], out: Stdout) -> None:
        self.options = options
        self.devices = devices
        self.console = Console(out)
        self.shape = Shape(
            layers=options.axmodel_num if options.layers is None else options.layers,
            chunk=options.prefill_chunk,
            prefill_limit=options.prefill_limit,
            max_tokens=options.context,
            kv_cache_size=options.kv_cache_size,
        )
        self.link = TokenizerLink(options.url_tokenizer_model, self.console)
        self.sampling = Sampling()
        model = Model(
            KvCache(self.shape),
            self.link,
            self.console,
            pace=Pace(options.tokens_per_second, options.prefill_tokens_per_second),
            faults=ModelFaults(
                spared=options.spare_answers,
                crash_after=options.crash_after_tokens,
                hang_after=options.hang_after_tokens,
                lose_card_after=options.lose_card_after_tokens,
                layer_missing=options.refuse_layer is not None,
            ),
            known_ids=options.tokens_embed_num,
            sampling=self.sampling,
        )
        file = None if options.reply_file is None else Path(options.reply_file)
        script = ReplyScript(options.reply, file)
        self.engine = Engine(
            model,
            self.link,
            self.console,
            script,
            faults=EngineFaults(options.spare_answers, options.stick_running, options.full_context),
        )
        faults = PollFaults(
            options.spare_answers, options.fail_polls, options.garbage_polls, options.bad_utf8
        )
        self.server = Server(Routes(self.engine, self.sampling, self.console, faults).table())

    def run(self) -> int:
        """Load, serve until SIGINT, wait for the current answer; return the exit code."""
        code = load(
            self.options,
            self.shape,
            devices=self.devices,
            link=self.link,
            sampling=self.sampling,
            console=self.console,
        )
        if code is not None:
            return code
        self.engine.start()
        if self._listen():
            if self.options.flood_output:
                threading.Thread(target=self._flood, daemon=True).start()
            self.server.serve()
        self.engine.finish()
        for device in self.devices:
            self.console.info("run", 80, f"AXCLWorker exit with devid {device}")
        return 0

    def on_sigint(self) -> None:
        """Close the port; has no effect while it is not open, as during the whole load."""
        self.server.stop()

    def _listen(self) -> bool:
        """Open the port and announce it, even when opening it failed."""
        port: int | None = None
        if not self.options.refuse_port:
            try:
                port = self.server.open(self.options.host, self.options.port)
            except OSError:
                port = None
        self.console.out.write(f"Server running on port {port or self.options.port}...\n")
        self.console.out.flush()
        return port is not None

    def _flood(self) -> None:
        while True:
            for number in range(20):
                self.console.info("flood", number, "a line that says nothing")
            time.sleep(0.01)


def main(arguments: list[str]) -> int:
    """Run the program; return the exit code, or end by a signal as the vendor's does."""
    try:
        command = parse(arguments[1:])
    except UsageError as error:
        sys.stderr.write(f"{error}\n{usage(arguments[0])}")
        return 1
    if command.wants_help:
        sys.stderr.write(usage(arguments[0]))
        return 0
    prepare_to_crash()
    options = command.options
    try:
        devices = device_ids(options.devices)
    except ValueError:
        terminate(CppException("std::invalid_argument", "stoi"))
    out = Stdout(sys.stdout.fileno())
    program = Program(options, devices, out)
    if options.ignore_sigint:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
    else:
        signal.signal(signal.SIGINT, lambda _number, _frame: program.on_sigint())
    if options.ignore_sigterm:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    try:
        code = program.run()
    except CppException as error:
        terminate(error)
    out.flush()
    return code


if __name__ == "__main__":
    code = main(sys.argv)
    sys.stderr.flush()
    os._exit(code & 0xFF)  # threads that hang in a driver call must not keep the process
