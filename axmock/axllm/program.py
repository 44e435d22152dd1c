"""The life of the process: port check, load, serving, and what signals do to it."""

from __future__ import annotations

import argparse
import errno
import signal
import socket
import threading
import time
from pathlib import Path

from axmock.axllm.config import BadConfig, Config
from axmock.axllm.console import Console
from axmock.axllm.model import CARD_LINE, Model, RunFaults
from axmock.axllm.options import DEFAULT_TIMEOUT_MS, ServeArguments
from axmock.axllm.server import Server
from axmock.axllm.vocabulary import Vocabulary
from axmock.crash import segfault
from axmock.pace import Pace
from axmock.reply import ReplyScript

FAILURE = 255
_LOGGED_CONFIG = '{\n  "enable_temperature": false,\n  "top_k": 1\n}'


class Program:
    """One `axllm serve`."""

    def __init__(
        self, options: argparse.Namespace, arguments: ServeArguments, console: Console
    ) -> None:
        self._options = options
        self._arguments = arguments
        self._console = console
        self._server: Server | None = None
        self._model: Model | None = None

    def run(self) -> int:
        """Load and serve; return the exit status."""
        timeout = self._arguments.timeout_ms or DEFAULT_TIMEOUT_MS
        if self._options.dialect == "new":
            self._console.plain(
                f"server request/queue timeout: {timeout} ms (config.server_timeout_ms, "
                "overridable via --server_timeout_ms)"
            )
        folder = Path(self._arguments.folder)
        if not folder.exists():
            self._console.plain(f"Model path does not exist: {folder}")
            return FAILURE
        try:
            config = Config.read(folder)
        except BadConfig as error:
            for line in error.lines:
                self._console.plain(line)
            return self._init_failed()
        port = self._arguments.port or config.port
        if reason := _why_unavailable(port):
            self._console.plain(f"Port {port} is unavailable: {reason}")
            return FAILURE
        try:
            vocabulary = Vocabulary(config.vocabulary)
        except (OSError, ValueError, IndexError):
            return self._init_failed()
        if (status := self._load()) is not None:
            return status
        self._serve(config, vocabulary, port, timeout / 1000)
        return 0

    def on_stop(self) -> None:
        """Stop serving; lost while the model loads, since nothing listens yet."""
        if self._server is None or not self._server.running:
            return
        if self._options.crash_on_stop and self._model and self._model.busy:
            segfault()
        self._server.stop()

    def _load(self) -> int | None:
        """Print what a load prints; return an exit status if it fails."""
        options, console = self._options, self._console
        console.log("INF", "Init:218", "LLM init start")
        console.log("INF", "run:30", "AXCLWorker start with devid 0")
        if options.dead_card:
            console.log("ERR", "run:44", f"axclrtSetDevice: {CARD_LINE}")
            return self._init_failed()
        console.plain("tokenizer_type = 1")
        if options.memory_guard:
            console.log(
                "ERR", "mem_guard:77", "memory guard: estimate 5400 MB exceeds 1798 MB, abort"
            )
            return self._init_failed()
        total, begun = options.layers + 3, time.monotonic()
        for done in range(1, total):
            console.bar(done, total, begun, f"init {done - 1} axmodel ok,remain_cmm(1798 MB)")
            time.sleep(options.load_seconds / total)
            if done * 2 >= total:
                if options.hang_in_load:
                    threading.Event().wait()
                if options.exit_during_load is not None:
                    console.plain("")
                    return int(options.exit_during_load)
        self._log_limits()
        console.bar(total, total, begun, "embed_selector init ok")
        console.log("INF", "load_config:282", "load config: ")
        for line in _LOGGED_CONFIG.splitlines():
            console.plain(line)
        console.log("INF", "Init:448", "LLM init ok")
        return None

    def _log_limits(self) -> None:
        options, console = self._options, self._console
        console.log("INF", "Init:368", f"max_token_len : {options.context}")
        console.log("INF", "Init:371", f"kv_cache_size : 1024, kv_cache_num: {options.context}")
        console.log("INF", "Init:374", "prefill_token_num : 128")
        for group, most in enumerate((1, 256, 512, 1024, 1536, options.prefill_limit), start=1):
            console.log("INF", "Init:379", f"grp: {group}, prefill_max_kv_cache_num : {most}")
        console.log("INF", "Init:384", f"prefill_max_token_num : {options.prefill_limit}")
        console.log("INF", "Init:27", "LLaMaEmbedSelector use mmap")

    def _serve(self, config: Config, vocabulary: Vocabulary, port: int, timeout: float) -> None:
        options, console = self._options, self._console
        script = ReplyScript(options.reply, options.reply_file and Path(options.reply_file))
        self._model = Model(
            vocabulary,
            console,
            script.answer,
            pace=Pace(options.tokens_per_second, options.prefill_tokens_per_second),
            context=options.context,
            prefill_limit=options.prefill_limit,
            old=options.dialect == "old",
            faults=RunFaults(
                options.crash_after_tokens,
                options.hang_after_tokens,
                options.cut_after_tokens,
                options.no_last_piece_after,
                options.fail_after_tokens,
                options.error_event,
            ),
            spared=options.spare_answers,
        )
        refused = [options.refuse] * options.refuse_times if options.refuse else []
        self._server = Server(
            config,
            self._model,
            console,
            (options.context, options.prefill_limit),
            old=options.dialect == "old",
            timeout=timeout,
            refusals=refused,
        )
        self._banner(config, port)
        try:
            self._server.open(options.host, port)
        except OSError:
            return  # taken meanwhile: it ends with status 0
        if options.flood_output:
            threading.Thread(target=self._flood, daemon=True).start()
        self._server.serve()

    def _banner(self, config: Config, port: int) -> None:
        kind = "embedding model" if config.is_embedding else "model"
        paths = ["embeddings"] if config.is_embedding else ["chat/completions"]
        self._console.plain(f"Starting server on port {port} with {kind} '{config.model_name}'...")
        self._console.plain("API URLs:")
        for method, path in (("GET ", "/health"), ("GET ", "/v1/models")):
            self._console.plain(f"  {method} http://127.0.0.1:{port}{path}")
        self._console.plain(f"  POST http://127.0.0.1:{port}/v1/{paths[0]}")
        self._console.plain("Aliases:")
        self._console.plain(f"  GET  http://127.0.0.1:{port}/models")
        self._console.plain(f"  POST http://127.0.0.1:{port}/{paths[0]}")
        self._console.plain(f"OpenAI API Server starting on http://0.0.0.0:{port}")
        self._console.plain("Max concurrency: 1")
        self._console.plain(f"Models: {config.model_name}")

    def _init_failed(self) -> int:
        self._console.log("ERR", "main:300", "LLM.Init failed")
        return FAILURE

    def _flood(self) -> None:
        while True:
            for number in range(20):
                self._console.log("DBG", f"flood:{number}", "a line that says nothing")
            time.sleep(0.01)


_BIND_ERRORS = {
    errno.EADDRINUSE: "port is already in use",
    errno.EACCES: "permission denied",
}


def install_signals(program: Program, *, ignore_sigterm: bool) -> None:
    """SIGINT, SIGTERM, SIGHUP and SIGQUIT stop the server; SIGPIPE is ignored."""
    signal.signal(signal.SIGPIPE, signal.SIG_IGN)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT):
        signal.signal(number, lambda *_: program.on_stop())
    if ignore_sigterm:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)


def _why_unavailable(port: int) -> str | None:
    # SO_REUSEADDR does not help against what an earlier process has left in TIME_WAIT: `Server`
    # listens without it, as the vendor's HTTP library does.
    with socket.socket() as test:
        test.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            test.bind(("0.0.0.0", port))
        except OSError as error:
            return _BIND_ERRORS.get(error.errno or 0, "bind failed")
    return None
