"""What every route shares: how a body is read, how an answer is written, how the service is found."""

from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Annotated, Any, Final
from urllib.parse import unquote_to_bytes

import orjson
from fastapi import APIRouter, Depends, Request, Response
from fastapi.routing import APIRoute

from serving.limits import Bound, bound_of, bounded, deadline
from serving.problems import MEDIA, Problem, as_problem
from serving.service import Service
from serving.shapes import ProblemAnswer

_WEB: Final = Path(__file__).parent.parent / "web"
_PAGE_HEADERS: Final = {
    "Content-Security-Policy": "default-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'self'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
}
_ANYWHERE: Final = (400, 401, 403, 408, 421, 422, 431, 500, 503)
BODY: Final = (413, 415)  # what a call with a body may be answered with besides
_WITH_BODY: Final = frozenset({"POST", "PUT", "PATCH"})


class _Request(Request):
    """A request whose body is bounded, as bytes and as JSON."""

    def __init__(self, request: Request, bound: Bound) -> None:
        super().__init__(request.scope, bounded(request, bound.size))
        self._bound = bound

    async def json(self) -> Any:
        return self._bound.read(await self.body())


class JsonRoute(APIRoute):
    """Reads JSON strictly, and turns what goes wrong into a problem before any middleware sees it."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handle = super().get_route_handler()

        async def handled(request: Request) -> Response:
            try:
                _require_text(request)
                _require_json(request)
                return await handle(_Request(request, bound_of(self.path_format, request.app.state.body_bytes)))
            except Exception as error:
                return as_problem(error).response()

        return handled


def _require_text(request: Request) -> None:
    """400 for a path or a query string that is no UTF-8: what stands for such bytes would be taken for an id."""
    for part in (request.scope.get("raw_path") or b"", request.scope["query_string"]):
        try:
            unquote_to_bytes(part).decode()
        except UnicodeDecodeError:
            raise Problem(400, "The path and the query string must be UTF-8, percent-encoded.") from None


def _require_json(request: Request) -> None:
    """415 for another type of body, and for the type of a form even without a body: a form of a foreign web page must
    not be able to post. What has neither type nor body, as of `curl -X POST`, passes: a form always has a type."""
    headers = request.headers
    content = headers.get("content-type")
    empty = headers.get("content-length", "0") == "0" and "transfer-encoding" not in headers
    if request.method in _WITH_BODY and not (empty and content is None):
        media = (content or "").partition(";")[0].strip().lower()
        if media != "application/json" and not media.endswith("+json"):
            raise Problem(415, "Send JSON, with the header `Content-Type: application/json`.")


def _service(request: Request) -> Service:
    service: Service | None = request.app.state.service
    if service is None or not service.ready:
        raise Problem(503, "The service is starting or stopping; try again.", headers={"Retry-After": "1"})
    return service


async def _desk(request: Request) -> Service:
    return _service(request)


Desk = Annotated[Service, Depends(_desk)]
Due = Annotated[float | None, Depends(deadline)]


def router(tag: str, **options: Any) -> APIRouter:
    return APIRouter(route_class=JsonRoute, tags=[tag], **options)


def answers(model: Any, *problems: int, status: int = 200) -> dict[int | str, dict[str, Any]]:
    """The documentation of what a route answers, None: text; what any call may be answered with is said here."""
    shape = {"model": ProblemAnswer, "content": {MEDIA: {}}}
    told: dict[int | str, dict[str, Any]] = {} if model is None else {status: {"model": model}}
    return {**told, **dict.fromkeys((*_ANYWHERE, *problems), shape)}


def json(value: object, status: int = 200) -> Response:
    """JSON without a model: a response model costs more than the ranking of a page."""
    return Response(orjson.dumps(value), status, media_type="application/json")


def web_file(name: str, media: str) -> Response:
    """A file of `serving/web`; the page it belongs to loads nothing from elsewhere and cannot be framed."""
    return Response((_WEB / name).read_bytes(), headers=_PAGE_HEADERS, media_type=media)
