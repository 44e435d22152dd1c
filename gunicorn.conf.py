"""How gunicorn runs the service: one worker, many threads; its hooks start and stop the children.

gunicorn reads this file by itself when it is started in this folder.
"""

import os
import signal
import sys
import threading
import time

from axproxy.logs import configure_logging
from axproxy.settings import Settings, SettingsError

try:
    _settings = Settings.from_env(os.environ)
except SettingsError as error:
    print(f"backend: {error}", file=sys.stderr)
    sys.exit(2)

# How long the running answer may go on after we were told to leave, and how long the children's
# stop ladders can take: a model that is loading is waited for, see axproxy/children.py.
ANSWER_GRACE = 5.0
LADDERS = 180.0 if _settings.runtime_kind == "vendor" else 25.0

bind = [f"{_settings.host}:{_settings.port}"]
if _settings.ollama_port:
    bind.append(f"{_settings.host}:{_settings.ollama_port}")

# A second worker would be a second supervisor fighting over one card; a recycled one would take
# the loaded model with it.
workers = 1
max_requests = 0
worker_class = "gthread"
# One thread answers, `max_queue` wait in line, and the rest keep /health and refusals quick.
threads = _settings.max_queue + 16
timeout = 120  # of the worker's main loop, not of a request: streams may take as long as they like
graceful_timeout = ANSWER_GRACE + LADDERS
keepalive = 5
control_socket_disable = True
proc_name = "ax650"
loglevel = _settings.log_level


def on_starting(_server):
    configure_logging(_settings)


def post_worker_init(worker):
    service = worker.wsgi.extensions["axproxy"]
    service.start()

    def leave_in_time():
        # gunicorn drains open requests before `worker_exit`, in the same grace that the ladders
        # need; so we begin to leave as soon as we are told to, or when our parent has died.
        while worker.alive and os.getppid() == worker.ppid:
            time.sleep(0.25)
        service.leave(ANSWER_GRACE)

    threading.Thread(target=leave_in_time, name="leave", daemon=True).start()


def worker_exit(_server, worker):
    # Ctrl-C reaches the whole process group, and gunicorn passes it on once more: the second one
    # must not interrupt the orderly stop that the first has begun.
    for number in (signal.SIGINT, signal.SIGQUIT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    if wsgi := getattr(worker, "wsgi", None):
        wsgi.extensions["axproxy"].stop()
