"""gunicorn's settings: one worker, many threads, and hooks that start and stop the children.

gunicorn reads this file by itself when it is started in this folder.
"""

import logging
import os
import shlex
import signal
import sys
import threading
import time
from pathlib import Path

# gunicorn looks for the application where it was started, which may be anywhere.
sys.path.insert(0, str(Path(__file__).resolve().parent))

from axproxy import __version__
from axproxy.cli.own_python import python_problem
from axproxy.server.gunicorn_adapter import gunicorn_problem

# Before the imports below, which would end with a traceback.
if sentence := python_problem() or gunicorn_problem():
    print(f"backend: {sentence}", file=sys.stderr)
    sys.exit(2)

from axproxy.api.http.policy import required_key
from axproxy.models.store import configured_settings
from axproxy.ops.logs import configure_logging, print_error
from axproxy.ops.malloc import keep_one_arena
from axproxy.ops.systemd import Notifier, SystemdReport
from axproxy.process.instance_lock import AlreadySupervised, InstanceLock
from axproxy.server.gunicorn_adapter import APP_LOAD_ERROR, runs_under_gunicorn
from axproxy.server.listeners import TooFewDescriptors, room_for_connections, why_unavailable
from axproxy.server.options import OptionRefused, settings_from_options
from axproxy.settings import SettingsError, port_variable

try:
    if runs_under_gunicorn():
        options = shlex.split(os.environ.get("GUNICORN_CMD_ARGS", "")) + sys.argv[1:]
        # The application reads them too, in the worker.
        os.environ.update(settings_from_options(options))
    _settings = configured_settings(os.environ)
    required_key(_settings)
    configure_logging(_settings)
except (SettingsError, OptionRefused, ValueError) as error:
    print_error("backend", error)
    sys.exit(2)

logging.getLogger("backend").info(
    "version %s, %s, on Python %s",
    __version__,
    _settings.runtime_kind,
    sys.version.partition(" ")[0],
)

# Takes its variables out of the environment, or gunicorn would report to systemd that we are ready
# as soon as it listens.
_simulated = "a SIMULATOR answers, no card is configured"
_model = _settings.model if _settings.model_path else "the model that is asked for"
_service_manager = Notifier.taken_from(os.environ)
_systemd = SystemdReport(
    _service_manager,
    _simulated if _settings.runtime_kind == "mock" else f"{_model} answers",
)

# Seconds that the running answer may go on after the order to stop, and that the children's stop
# ladders can take: a model that is loading is waited for, see axproxy/runtimes/main_api/launch.py.
ANSWER_GRACE = 5
LADDERS = 180 if _settings.runtime_kind == "vendor" else 25

# Signals that gunicorn gives a meaning to, and this service does not.
WITHOUT_MEANING = (
    *(signal.SIGTTIN, signal.SIGTTOU),  # more and fewer workers
    *(signal.SIGUSR1, signal.SIGUSR2),  # its log files, a second master
    signal.SIGWINCH,
)

_host = f"[{_settings.host}]" if ":" in _settings.host else _settings.host  # IPv6
_ports = {_settings.ollama_port: "AX650_OLLAMA_PORT", _settings.port: port_variable(os.environ)}
_ports.pop(0, None)
bind = [f"{_host}:{port}" for port in _ports]

# A second worker would be a second supervisor of the same card; a recycled worker would take the
# loaded model with it.
workers = 1
max_requests = 0
worker_class = "axproxy.server.worker.Worker"  # gthread
# One thread answers, `max_queue` wait in the queue, and the rest keep refusals quick.  Idle
# connections take no thread, so there may be many more of them.
threads = _settings.max_queue + 16
try:
    worker_connections = room_for_connections(threads + 2000)
except TooFewDescriptors as error:
    print_error("backend", error)
    sys.exit(2)
timeout = 300  # of the worker's main loop, not of a request: streams may take as long as they like
graceful_timeout = ANSWER_GRACE + LADDERS
keepalive = 5
control_socket_disable = True
proc_name = "ax650"
logger_class = "axproxy.server.gunicorn_log.OneLog"
# At debug gunicorn would log a hundred settings of its own, and each request once more.
loglevel = "info" if _settings.log_level == "debug" else _settings.log_level


def on_starting(server):
    if _settings.runtime_kind != "attach":
        refuse_to_be_the_second()
    leave_only_orders_to_stop(server)
    # gunicorn would log ten times that an address is in use, and not by which program.
    if why_not := why_unavailable(_settings.host, _ports, timeout=2):
        print_error("backend", why_not)
        sys.exit(1)


def refuse_to_be_the_second():
    # The lock is the worker's.  It is tried here first, because gunicorn reports of a worker that
    # exits without it that our application could not be loaded, which is not the problem.
    rehearsal = InstanceLock(_settings.runtime_port)
    try:
        rehearsal.acquire()
    except AlreadySupervised as error:
        print_error("backend", error)
        sys.exit(APP_LOAD_ERROR)
    rehearsal.release()


def leave_only_orders_to_stop(server):
    # gunicorn would start a second worker (SIGTTIN, SIGHUP) or a second master (SIGUSR2), which
    # cannot have the card, and end both.  The children get the system's own handlers back.
    server.SIGNALS = [signal.SIGINT, signal.SIGQUIT, signal.SIGTERM]
    for number in WITHOUT_MEANING:
        signal.signal(number, do_nothing)
    # A terminal that is closed should end the service, unless it was started with nohup.  Under
    # systemd a hangup is a mistake, and would count as an order to stop.
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
        signal.signal(signal.SIGHUP, do_nothing if _service_manager.listens else leave)


def leave(_number, _frame):
    os.kill(os.getpid(), signal.SIGTERM)


def do_nothing(_number, _frame):
    pass


def when_ready(server):
    # A Ctrl-C during an orderly stop would make gunicorn kill the worker two seconds later, and a
    # model that is being loaded with it.
    def leave_once(number, frame):
        ignore_further_signals()
        server.signal(number, frame)

    signal.signal(signal.SIGTERM, leave_once)


def post_fork(_server, _worker):
    keep_one_arena()  # before the first of its many threads


def post_worker_init(worker):
    def quit_once(number, frame):
        ignore_further_signals()
        worker.handle_quit(number, frame)

    # Ctrl-C reaches the whole process group, is often pressed twice, and gunicorn passes it on as
    # SIGQUIT: only the first may act, or it would interrupt the orderly stop under way.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGQUIT, quit_once)
    for number in (signal.SIGHUP, *WITHOUT_MEANING):
        signal.signal(number, do_nothing)
    service = worker.wsgi.extensions["axproxy"]
    try:
        service.start(_systemd.beat)
    except AlreadySupervised as error:
        print_error("backend", error)
        sys.exit(APP_LOAD_ERROR)  # gunicorn then starts no other worker, which would not help

    def leave_in_time():
        # gunicorn drains open requests before `worker_exit`, in the same grace that the ladders
        # need; so we begin to stop with the order to stop, or when our parent has died.
        while worker.alive and os.getppid() == worker.ppid:
            time.sleep(0.25)
        _systemd.leaving()
        service.leave(ANSWER_GRACE)

    threading.Thread(target=leave_in_time, name="leave", daemon=True).start()


def worker_exit(_server, worker):
    ignore_further_signals()
    _systemd.leaving()
    if wsgi := getattr(worker, "wsgi", None):
        wsgi.extensions["axproxy"].stop()


def ignore_further_signals():
    for number in (signal.SIGINT, signal.SIGQUIT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
