"""The web page at `/`, and the little it needs besides the API."""

from typing import Annotated, Final

from fastapi import Query, Response

from serving.auth import Reader
from serving.problems import Problem
from serving.routes.base import Desk, json, router, web_file
from serving.wire import Id

ROUTES = router("playground", include_in_schema=False)
_FILES: Final = {
    "app.js": "text/javascript; charset=utf-8",
    "view.js": "text/javascript; charset=utf-8",
    "docs.js": "text/javascript; charset=utf-8",
    "style.css": "text/css; charset=utf-8",
}
_MOST = 100


@ROUTES.get("/")
async def page() -> Response:
    return web_file("index.html", "text/html; charset=utf-8")


@ROUTES.get("/playground/items")
async def items(item_id: Annotated[list[Id], Query(max_length=_MOST)], service: Desk, _: Reader) -> Response:
    """What to show of items: `item_id=a&item_id=b`."""
    return json({"items": await service.on_engine(lambda: service.engine.items(item_id))})


@ROUTES.get("/playground/users")
async def users(service: Desk, _: Reader) -> Response:
    return json({"users": await service.on_engine(lambda: service.engine.sample_users(8))})


@ROUTES.get("/playground/{name}")
async def file(name: str) -> Response:
    if name not in _FILES:
        raise Problem(404, "There is no such file.")
    return web_file(name, _FILES[name])
