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
from collections.abc import Sequence
from dataclasses import replace
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
from axproxy.api.access import OriginCheck, access_for, hosts_of_this_machine
from axproxy.api.dialects import DIALECTS
from axproxy.api.http.allowed_models import AllowedModels
from axproxy.api.http.memory import RequestMemory
from axproxy.api.http.origins import is_loopback
from axproxy.api.http.policy import allowed_origins
from axproxy.api.http.requests import tidy_paths
from axproxy.api.ops import OpsRoutes
from axproxy.api.ui.routes import UiRoutes, lead_browsers_to_the_page
from axproxy.engine.engine import SerialEngine
from axproxy.engine.pool import EnginePool
from axproxy.engine.protocol import Engine, EngineOptions
from axproxy.engine.runtime import Timeouts
from axproxy.errors import Unloadable
from axproxy.models.catalog import ModelCatalog, Models
from axproxy.models.context_length import ReportedContexts
from axproxy.models.derived import DerivedModels
from axproxy.models.description import CurrentModel
from axproxy.models.lazy_pulls import LazyPulls
from axproxy.models.model import Model
from axproxy.models.runtime_choice import runtime_for
from axproxy.models.store import ModelStore, configured_settings, default_store, settings_for
from axproxy.ops.metrics import Metrics
from axproxy.ops.request_log import RequestLog
from axproxy.preflight.card_plan import CardPlan
from axproxy.preflight.checks import require_known_checks, require_model, why_unloadable
from axproxy.process.ports import first_usable
from axproxy.prompts.template_features import CAPABILITIES, EMBEDDING, VISION
from axproxy.prompts.tokenizer import TokenizerInfo
from axproxy.runtimes.axengine.client import WorkerClient
from axproxy.runtimes.axengine.runtime import AxengineRuntime, PreparedIds
from axproxy.runtimes.axllm.client import AxllmClient
from axproxy.runtimes.axllm.runtime import AxllmRuntime, PreparedMessages
from axproxy.runtimes.main_api.attached import AttachedSupervisor
from axproxy.runtimes.main_api.client import RuntimeClient
from axproxy.runtimes.main_api.launch import MainApiRecipe
from axproxy.runtimes.main_api.runtime import MainApiRuntime
from axproxy.server.gunicorn_adapter import AppImportError, runs_without_our_settings
from axproxy.settings import Settings, SettingsError
from axproxy.tokenizer.choice import choose_tokenizer
from runtime_supervisor import AxengineSupervisor, AxllmSupervisor, RuntimeSupervisor

STORE_AGE = 1.0  # seconds in which a new folder is seen, at the latest
PORTS = 16  # for runtimes, from AX650_RUNTIME_PORT on

ROOT = Path(__file__).resolve().parent


def create_engine(
    settings: Settings, timeouts: Timeouts | None = None
) -> tuple[SerialEngine[Any] | EnginePool, Models]:
    """Make the engine and the catalogue of what it can answer with; starts nothing.

    There is one model where the runtime is attached, and where a simulator has no store.
    """
    timeouts = timeouts or Timeouts(stall=settings.stall_timeout)
    place = settings.models_dir or default_store(os.environ)
    if settings.runtime_kind == "vendor" or (
        settings.runtime_kind == "mock" and settings.models_dir
    ):
        return create_pool(settings, timeouts, place)
    model = described_model(settings)
    engine = engine_of_one(settings, timeouts, model)
    catalog = ModelCatalog(
        model,
        derived=DerivedModels(place),
        aliases=dict(settings.model_aliases),
        context_length=lambda _model: engine.context_length(),
    )
    return engine, catalog


def create_pool(
    settings: Settings, timeouts: Timeouts, place: Path
) -> tuple[EnginePool, ModelCatalog]:
    """Make the engine of all models of the store and of the configured one."""
    store = ModelStore(settings, place, max_age=STORE_AGE)
    store.empty_trash()
    path = settings.model_path
    outside = path and path.parent != place
    without_store = settings.runtime_kind == "mock" and not store.models()
    configured = described_model(settings) if outside or without_store else None
    catalog = ModelCatalog(
        configured,
        store,
        DerivedModels(place),
        aliases=dict(settings.model_aliases),
        default_folder=path,
        pull=LazyPulls(settings, place).pull,
        contexts=ReportedContexts(place) if settings.runtime_kind == "vendor" else None,
    )
    used: dict[Path | None, int] = {}  # the ports by the folders of the models

    def make(model: Model, beside: Sequence[Model]) -> SerialEngine[Any]:
        port = settings.runtime_port
        if model.runtime == "axllm" and (beside or used):
            taken = {used[each.folder] for each in beside}
            port = first_usable(number for number in port_range(port) if number not in taken)
        used[model.folder] = port
        if configured and model.folder in (None, path):
            return engine_of_one(replace(settings, runtime_port=port), timeouts, configured)
        own = settings_for(settings, model.folder or Path(), model.base or model.name)
        own = replace(own, runtime_port=port)
        # Nothing is unloaded for a model that cannot be loaded.  Where nothing is on the card, its
        # own checks report what is wrong, and look again until it is right.
        replaces = len(used) > 1
        if replaces and own.runtime_kind == "vendor" and (problem := why_unloadable(own)):
            raise Unloadable(f"{model.name} cannot be loaded: {problem}")
        return engine_of_one(own, timeouts, described_model(own))

    def preload() -> list[Model]:
        named = [catalog.find(name) for name in settings.preload]
        return named or ([catalog.default()] if catalog.all() else [])

    plan = CardPlan(settings.max_loaded_models)
    pool = EnginePool(make, plan.fits, preload, pin=bool(settings.preload))
    plan.follow(
        lambda: pool.health().runtime.card, lambda: [loaded.model for loaded in pool.loaded()]
    )
    catalog.context_length = pool.context_length
    return pool, catalog


def port_range(first: int) -> range:
    """Return the ports of the vendor's programs where several run; docs/models.md names them."""
    return range(first, min(first + PORTS, 65536))


def described_model(settings: Settings) -> CurrentModel:
    """Return what describes the model of the settings."""
    if runtime_for(settings) == "axllm":
        return CurrentModel(settings, (*CAPABILITIES, EMBEDDING, VISION))
    return CurrentModel(settings, (*choose_tokenizer(settings).capabilities, EMBEDDING))


def engine_of_one(settings: Settings, timeouts: Timeouts, model: CurrentModel) -> SerialEngine[Any]:
    """Make the engine of one model, on the program that its folder is for."""
    match runtime_for(settings):
        case "axllm":
            return axllm_engine(settings, timeouts, model)
        case "axengine":
            return axengine_engine(settings, timeouts, model)
    return main_api_engine(settings, timeouts, model)


def axengine_engine(
    settings: Settings, timeouts: Timeouts, model: CurrentModel
) -> SerialEngine[PreparedIds]:
    """Make the engine on PyAXEngine, in a worker of its own."""
    supervisor = AxengineSupervisor(settings)
    worker = supervisor.recipe
    tokenizer = choose_tokenizer(settings)
    worker.refresh_model = model.refresh
    client = tokenizer.client()
    runtime = AxengineRuntime(
        supervisor,
        worker,
        WorkerClient(worker.socket),
        client,
        make_renderer=lambda: tokenizer.renderer(client),
        timeouts=timeouts,
    )
    return SerialEngine(runtime, supervisor, model, engine_options(settings))


def axllm_engine(
    settings: Settings, timeouts: Timeouts, model: CurrentModel
) -> SerialEngine[PreparedMessages]:
    """Make the engine on the vendor's `axllm`."""
    supervisor = AxllmSupervisor(settings)
    program = supervisor.recipe
    connect = functools.partial(AxllmClient, settings.runtime_url)
    runtime = AxllmRuntime(supervisor, program, connect, timeouts=timeouts)

    def refresh(tokenizer: TokenizerInfo | None) -> None:
        before = model()
        model.refresh(tokenizer)
        if model() != before:
            runtime.read_folder_anew()

    program.refresh_model = refresh
    return SerialEngine(runtime, supervisor, model, engine_options(settings))


def main_api_engine(
    settings: Settings, timeouts: Timeouts, model: CurrentModel
) -> SerialEngine[Any]:
    """Make the engine on the vendor's `main_api`."""
    supervisor: AttachedSupervisor | RuntimeSupervisor
    program: AttachedSupervisor | MainApiRecipe
    if settings.runtime_kind == "attach":
        supervisor = program = AttachedSupervisor(settings)
    else:
        supervisor = RuntimeSupervisor(settings)
        program = supervisor.recipe
    tokenizer = choose_tokenizer(settings)
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
    return SerialEngine(runtime, supervisor, model, engine_options(settings))


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
    settings = settings or configured_settings(os.environ)
    require_known_checks(settings)
    require_model(settings)
    if engine is None or models is None:
        engine, models = create_engine(settings)
    app = Flask("axproxy", static_folder=None)
    app.config["PROVIDE_AUTOMATIC_OPTIONS"] = False
    app.extensions["axproxy"] = engine
    metrics = Metrics(engine.health, settings.models_dir or default_store(os.environ))
    inner = RequestMemory(tidy_paths(app.wsgi_app))
    app.wsgi_app = RequestLog(inner, observe=metrics.requests.observe)  # type: ignore[method-assign]  # Flask's way
    errors.install(app)
    hosts = hosts_of_this_machine() if is_loopback(settings.host) else None
    OriginCheck(allowed_origins(settings), hosts).install(app)
    access = access_for(settings).installed_in(app)
    models = AllowedModels(models)
    for dialect in DIALECTS:
        app.register_blueprint(dialect.blueprint(engine, models))
    app.register_blueprint(OpsRoutes(engine, access, metrics).blueprint())
    app.before_request(lead_browsers_to_the_page)
    app.register_blueprint(UiRoutes(engine, models, access).blueprint())
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
