"""What every route shares: how a body is read, how an answer is written, how the service is found."""

from collections.abc import Callable, Coroutine
from typing import Annotated, Any

import orjson
from fastapi import APIRouter, Depends, Request, Response
from fastapi.routing import APIRoute

from serving.limits import deadline
from serving.problems import MEDIA, Problem, as_problem
from serving.service import Service
from serving.shapes import ProblemAnswer


class _Request(Request):
    async def json(self) -> Any:
        # Python's own parser lets NaN and lone surrogates in, which no answer and no store can hold.
        return orjson.loads(await self.body())


class JsonRoute(APIRoute):
    """Reads JSON strictly, and turns what goes wrong into a problem before any middleware sees it."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handle = super().get_route_handler()

        async def handled(request: Request) -> Response:
            try:
                _require_json(request)
                return await handle(_Request(request.scope, request.receive))
            except Exception as error:
                return as_problem(error).response()

        return handled


def _require_json(request: Request) -> None:
    """415 for another type of body: a form of a foreign web page must not be able to post to a service on loopback."""
    if request.method in ("POST", "PUT") and int(request.headers.get("content-length", "1") or 1):
        media = request.headers.get("content-type", "").partition(";")[0].strip().lower()
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
    """The documentation of what a route answers."""
    shape = {"model": ProblemAnswer, "content": {MEDIA: {}}}
    return {status: {"model": model}, **dict.fromkeys((401, 403, *problems), shape)}


def json(value: object, status: int = 200) -> Response:
    """JSON without a model: a response model costs more than the ranking of a page."""
    return Response(orjson.dumps(value), status, media_type="application/json")
