"""The HTTP application: routes around one engine. Nothing happens before the app starts."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from operator import attrgetter
from typing import Any, Final

from fastapi import FastAPI
from fastapi.middleware.cors import CORSMiddleware

from pipeline.folders import make_folder
from serving.auth import check_keys
from serving.documented import document
from serving.keyring import KeyRing
from serving.ports import Engine
from serving.problems import install
from serving.routes import bundles, documents, events, explain, health, items, playground, ranked, rules, suggest, users
from serving.service import Service
from serving.settings import Settings
from serving.telemetry import Metrics, Timing
from serving.visitors import Hosts, Visitors

_ABOUT = """
From a log of what people were shown and what they did to a ranked page: search, recommendations, ranking of your own
items, query suggestions. Post what happens to `/v1/events`; the next request knows it.

Errors are RFC 9457 `application/problem+json`. With API keys, send one as `Authorization: Bearer KEY` or `X-API-Key`.
"""

_PARTS: Final = (ranked, suggest, events, explain, items, rules, bundles, users, health, documents, playground)
_METHODS: Final = ("GET", "POST", "PUT", "PATCH", "DELETE")
_HEADERS: Final = ("Authorization", "X-API-Key", "Content-Type", "X-Deadline-Ms")


def create_app(load_engine: Callable[[], Engine], settings: Settings) -> FastAPI:
    """The app; `load_engine` is called when it starts, and the app takes requests once the engine has answered one.

    Raises ConfigError when the keys are unreadable, or missing on an address strangers can reach.
    """
    metrics = Metrics(settings.watch)
    keys = KeyRing(settings.keys_file, metrics.key_failures.inc)
    check_keys(settings, keys.now())

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        make_folder(settings.root)
        service = app.state.service = Service(settings, load_engine(), metrics)
        try:
            await service.start()
            yield
        finally:
            await service.stop()

    shown: dict[str, Any] = {"title": "Podium", "version": "1", "description": _ABOUT, "docs_url": None}
    shown |= {"redoc_url": None, "generate_unique_id_function": attrgetter("name")}
    app = FastAPI(**shown, lifespan=lifespan, redirect_slashes=False)
    app.state.keys, app.state.metrics, app.state.service = keys, metrics, None
    app.state.body_bytes = settings.serving.body_bytes
    install(app)
    if cors := settings.serving.cors:
        app.add_middleware(CORSMiddleware, allow_origins=cors, allow_methods=_METHODS, allow_headers=_HEADERS)
    app.add_middleware(Visitors, hosts=Hosts(settings.host, settings.serving.hosts), origins=cors)
    app.add_middleware(Timing, metrics=metrics)
    for part in _PARTS:
        app.include_router(part.ROUTES)
    app.openapi = partial(document, app, app.openapi)  # type: ignore[method-assign]
    app.state.routes = [route for routes in (app, *(part.ROUTES for part in _PARTS)) for route in routes.routes]
    return app
