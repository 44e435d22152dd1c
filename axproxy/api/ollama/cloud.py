"""The routes that Ollama forwards to ollama.com; this service forwards none."""

from __future__ import annotations

from flask import Blueprint, Response

from axproxy.api.http.requests import get_only, read_body
from axproxy.api.http.responses import json_response
from axproxy.errors import ClientError
from axproxy.models.catalog import Models
from axproxy.models.model import Model

SIGN_IN = (
    "signing in to ollama.com is not available here: this service has a model of its own and needs "
    "no account"
)


class OllamaCloudRoutes:
    def __init__(self, models: Models) -> None:
        self._models = models

    def add_to(self, routes: Blueprint) -> None:
        get_only(routes, "/api/status", self.status)
        get_only(routes, "/api/experimental/model-recommendations", self.recommendations)
        routes.post("/api/experimental/web_search")(self.web_search)
        routes.post("/api/experimental/web_fetch")(self.web_fetch)
        routes.post("/api/me")(self.me)
        routes.post("/api/signout")(self.signout)
        routes.delete("/api/user/keys/<_key>")(self.signout)

    def status(self) -> Response:
        return json_response({"cloud": {"disabled": True, "source": "env"}})

    def recommendations(self) -> Response:
        """Recommend what is here; `ollama` offers the cloud's models where the list is empty."""
        recommendations = [
            {"model": model.name, "description": _description(model)}
            for model in self._models.all()
        ]
        return json_response({"recommendations": recommendations})

    def me(self) -> Response:
        """Refuse; at a 401 `ollama push` and `signin` end well, with no address to sign in at."""
        return json_response({"error": SIGN_IN}, 403)

    def signout(self, _key: str = "") -> Response:
        return json_response({"error": "you are not currently signed in"}, 401)

    def web_search(self) -> Response:
        return self._refused("web search")

    def web_fetch(self) -> Response:
        return self._refused("web fetch")

    def _refused(self, service: str) -> Response:
        if not read_body().strip():
            raise ClientError("missing request body")
        return json_response({"error": f"ollama cloud is disabled: {service} is unavailable"}, 403)


def _description(model: Model) -> str:
    what = " ".join(text for text in (model.family, model.parameter_size) if text != "unknown")
    return f"{what or 'a model'} on this service's AX650 card"
