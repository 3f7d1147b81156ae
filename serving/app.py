"""The HTTP application: routes around one engine. Nothing happens before the app starts."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from fastapi import FastAPI

from pipeline.folders import make_folder
from serving.auth import check_bind, read_keys
from serving.limits import BodyLimit
from serving.ports import Engine
from serving.problems import install
from serving.routes import bundles, events, explain, health, playground, ranked, rules, suggest, users
from serving.service import Service
from serving.settings import Settings
from serving.telemetry import Metrics, Timing

_ABOUT = """
From a log of what people were shown and what they did to a ranked page: search, recommendations, ranking of your own
items, query suggestions. Post what happens to `/v1/events`; the next request knows it.

Errors are RFC 9457 `application/problem+json`. With API keys, send one as `Authorization: Bearer KEY` or `X-API-Key`.
"""


def create_app(load_engine: Callable[[], Engine], settings: Settings) -> FastAPI:
    """The app; `load_engine` is called when it starts, and the app takes requests once the engine has answered one.

    Raises ConfigError when the keys are unreadable, or missing on an address strangers can reach.
    """
    keys = read_keys(settings.keys_file)
    check_bind(settings.host, keys)
    metrics = Metrics(settings.watch)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        make_folder(settings.root)
        service = app.state.service = Service(settings, load_engine(), metrics)
        try:
            await service.start()
            yield
        finally:
            await service.stop()

    app = FastAPI(title="Podium", version="1", description=_ABOUT, lifespan=lifespan, redirect_slashes=False)
    app.state.keys, app.state.metrics, app.state.service = keys, metrics, None
    install(app)
    app.add_middleware(BodyLimit, limit=settings.serving.body_bytes)
    app.add_middleware(Timing, metrics=metrics)
    for part in (ranked, suggest, events, explain, rules, bundles, users, health, playground):
        app.include_router(part.ROUTES)
    return app
