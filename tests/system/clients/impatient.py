"""The service with a heartbeat every fifth of a second.

gunicorn tests.system.clients.impatient:app
"""

import os

from axproxy.api import streaming
from axproxy.engine.runtime import Timeouts
from axproxy.settings import Settings
from backend import create_app, create_engine

streaming.HEARTBEAT_INTERVAL = 0.15
settings = Settings.from_env(os.environ)
app = create_app(settings, *create_engine(settings, Timeouts(heartbeat=0.2)))
