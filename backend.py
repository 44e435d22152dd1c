"""Compose the service from its parts, and start it.

python3 backend.py          from anywhere; becomes gunicorn, whose options it takes
python3 backend.py --help   lists the commands, such as status, chat and doctor
gunicorn backend:app        in this folder, where it finds gunicorn.conf.py by itself

Settings are environment variables: docs/settings.md.
"""

from __future__ import annotations

import functools
import os
import sys
from pathlib import Path
from typing import Any

from axproxy.cli.own_python import use_own_python

if __name__ == "__main__":
    use_own_python()
    from axproxy.cli import main as launch

    # Before the imports below, which take half a second: gunicorn repeats them.
    sys.exit(launch.main(sys.argv[1:]))

from flask import Flask

from axproxy.api import errors
from axproxy.api.access import Access, OriginCheck, hosts_of_this_machine
from axproxy.api.dialects import DIALECTS
from axproxy.api.http.memory import RequestMemory
from axproxy.api.http.origins import is_loopback
from axproxy.api.http.policy import allowed_origins, authorized_keys, required_key
from axproxy.api.http.requests import tidy_paths
from axproxy.api.ops import OpsRoutes
from axproxy.engine.engine import SerialEngine
from axproxy.engine.protocol import Engine, EngineOptions
from axproxy.engine.runtime import Timeouts
from axproxy.models.catalog import Models, SingleModelCatalog
from axproxy.models.description import CurrentModel
from axproxy.models.runtime_choice import runtime_for
from axproxy.ops.request_log import RequestLog
from axproxy.preflight.checks import require_known_checks, require_model
from axproxy.prompts.template_features import CAPABILITIES, EMBEDDING, VISION
from axproxy.runtimes.axllm.client import AxllmClient
from axproxy.runtimes.axllm.runtime import AxllmRuntime, PreparedMessages
from axproxy.runtimes.main_api.attached import AttachedSupervisor
from axproxy.runtimes.main_api.client import RuntimeClient
from axproxy.runtimes.main_api.launch import MainApiRecipe
from axproxy.runtimes.main_api.runtime import MainApiRuntime, PreparedPrompt
from axproxy.server.gunicorn_adapter import AppImportError, runs_without_our_settings
from axproxy.settings import Settings, SettingsError
from axproxy.tokenizer.choice import choose_tokenizer
from runtime_supervisor import AxllmSupervisor, RuntimeSupervisor

ROOT = Path(__file__).resolve().parent


def create_engine(
    settings: Settings, timeouts: Timeouts | None = None
) -> tuple[SerialEngine[Any], Models]:
    """Make the engine and the catalogue of what it can answer with; starts nothing."""
    timeouts = timeouts or Timeouts(stall=settings.stall_timeout)
    make = axllm_engine if runtime_for(settings) == "axllm" else main_api_engine
    engine, model = make(settings, timeouts)
    return engine, SingleModelCatalog(model, engine.context_length)


def axllm_engine(
    settings: Settings, timeouts: Timeouts
) -> tuple[SerialEngine[PreparedMessages], CurrentModel]:
    """Make the engine on the vendor's `axllm`, and what describes its model."""
    supervisor = AxllmSupervisor(settings)
    program = supervisor.recipe
    model = CurrentModel(settings, (*CAPABILITIES, EMBEDDING, VISION))
    program.refresh_model = model.refresh
    connect = functools.partial(AxllmClient, settings.runtime_url)
    runtime = AxllmRuntime(supervisor, program, connect, timeouts=timeouts)
    return SerialEngine(runtime, supervisor, model, engine_options(settings)), model


def main_api_engine(
    settings: Settings, timeouts: Timeouts
) -> tuple[SerialEngine[PreparedPrompt], CurrentModel]:
    """Make the engine on the vendor's `main_api`, and what describes its model."""
    supervisor: AttachedSupervisor | RuntimeSupervisor
    program: AttachedSupervisor | MainApiRecipe
    if settings.runtime_kind == "attach":
        supervisor = program = AttachedSupervisor(settings)
    else:
        supervisor = RuntimeSupervisor(settings)
        program = supervisor.recipe
    tokenizer = choose_tokenizer(settings)
    model = CurrentModel(settings, tokenizer.capabilities)
    program.refresh_model = model.refresh
    client = tokenizer.client()
    runtime = MainApiRuntime(
        supervisor,
        program,
        client,
        connect=functools.partial(RuntimeClient, settings.runtime_url, vocabulary=model.vocabulary),
        make_renderer=lambda: tokenizer.renderer(client),
        timeouts=timeouts,
    )
    return SerialEngine(runtime, supervisor, model, engine_options(settings)), model


def engine_options(settings: Settings) -> EngineOptions:
    return EngineOptions(
        max_queue=settings.max_queue,
        keep_alive=settings.keep_alive,
        warm_prompt=settings.warm_prompt == "on",
        think=settings.think != "off",
    )


def create_app(
    settings: Settings | None = None, engine: Engine | None = None, models: Models | None = None
) -> Flask:
    """The WSGI application, by default made from the environment; it starts nothing.

    gunicorn's hooks find the engine as `app.extensions["axproxy"]`.  Raises `SettingsError`.
    """
    settings = settings or Settings.from_env(os.environ)
    require_known_checks(settings)
    require_model(settings)
    if engine is None or models is None:
        engine, models = create_engine(settings)
    app = Flask("axproxy", static_folder=None)
    app.config["PROVIDE_AUTOMATIC_OPTIONS"] = False
    app.extensions["axproxy"] = engine
    app.wsgi_app = RequestLog(RequestMemory(tidy_paths(app.wsgi_app)))  # type: ignore[method-assign]  # Flask's way
    errors.install(app)
    origins = allowed_origins(settings)
    hosts = hosts_of_this_machine() if is_loopback(settings.host) else None
    OriginCheck(origins, hosts).install(app)
    access = Access(required_key(settings), authorized_keys(settings))
    app.before_request(access.before_request)
    for dialect in DIALECTS:
        app.register_blueprint(dialect.blueprint(engine, models))
    app.register_blueprint(OpsRoutes(engine, access).blueprint())
    return app


@functools.cache
def _app() -> Flask:
    # gunicorn looks for gunicorn.conf.py where it is started, before any --chdir.  Without its
    # hooks the service would listen on the wrong port and start no runtime.
    if runs_without_our_settings():
        raise AppImportError(
            f"gunicorn has not read our settings; start it in {ROOT}, or add "
            f"-c {ROOT / 'gunicorn.conf.py'}, or run {ROOT / 'backend.py'}"
        )
    try:
        return create_app()
    except SettingsError as error:
        raise AppImportError(f"backend: {error}") from error


def __getattr__(name: str) -> Any:
    # Made when gunicorn asks for it, so that importing this module has no effect.
    if name == "app":
        return _app()
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
