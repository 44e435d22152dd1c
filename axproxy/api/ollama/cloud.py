"""The routes that Ollama forwards to ollama.com; this service forwards none."""

from __future__ import annotations

from flask import Blueprint, Response

from axproxy.api.http.requests import get_only, read_body
from axproxy.api.http.responses import json_response
from axproxy.errors import ClientError


class OllamaCloudRoutes:
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
        return json_response({"recommendations": []})

    def me(self) -> Response:
        return json_response({"error": "unauthorized"}, 401)

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
