"""Every error the service answers, in one shape: RFC 9457 `application/problem+json`.

`{type, title, status, detail, errors: [{field, reason}]}`. What the caller did wrong is named by field; what we
did wrong is logged here and answered without a word of the inside.
"""

import logging
from collections.abc import Mapping, Sequence
from http import HTTPStatus

import orjson
from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.routing import Match, Route

from pipeline.errors import ArtifactError, InputError, StageError
from pipeline.logs.store import DiskFullError, StoreBrokenError, StoreFullError

LOG = logging.getLogger("podium.serving")
MEDIA = "application/problem+json"
_TOLD = 20  # errors of one answer; the others are counted
_REASONS = {
    "missing": "is required",
    "extra_forbidden": "is not a field of this request",
    "model_attributes_type": "must be a JSON object",
}
_GENERIC = {
    404: "There is nothing at this path; GET /docs lists what there is.",
    405: "This path does not take that method; the Allow header lists those it takes.",
}


class Problem(HTTPException):
    """Raise anywhere in a request to answer with it. `errors`: (field, reason) pairs."""

    def __init__(
        self,
        status: int,
        detail: str,
        errors: Sequence[tuple[str, str]] = (),
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(status, detail, dict(headers or {}))
        self.errors = errors

    def response(self) -> Response:
        title = HTTPStatus(self.status_code).phrase
        errors = [{"field": _short(field), "reason": _short(reason)} for field, reason in self.errors[:_TOLD]]
        body: dict[str, object] = {"type": f"urn:podium:problem:{title.lower().replace(' ', '-')}", "title": title}
        body |= {"status": self.status_code, "detail": _short(self.detail, 1_000), "errors": errors}
        return Response(orjson.dumps(body), self.status_code, dict(self.headers or {}), MEDIA)


def _short(text: str, most: int = 300) -> str:
    """What a caller sent comes back at a length that can be read."""
    return text if len(text) <= most else f"{text[: most - 2]} …"


def refused(field: str, reason: str) -> Problem:
    """422 for one field."""
    return Problem(422, f"{field}: {reason}.", [(field, reason)])


def install(app: FastAPI) -> None:
    """Answer every exception that leaves a route, or never reaches one, as a problem."""

    async def problem(request: Request, error: Exception) -> Response:
        found = as_problem(error)
        if found.status_code == 404 and any(ord(sign) < 32 for sign in request.scope["path"]):  # which matches no route
            found = refused("path", "must not hold control characters")
        if found.status_code == 405:  # the framework names the methods of one route of the path
            found.headers = {"Allow": ", ".join(_methods(request))}
        return found.response()

    stored = (StoreFullError, DiskFullError, StoreBrokenError)
    for kind in (Problem, RequestValidationError, HTTPException, InputError, *stored, StageError, Exception):
        app.add_exception_handler(kind, problem)


def _methods(request: Request) -> list[str]:
    """What the path of a request takes."""
    routes = [route for route in request.app.state.routes if isinstance(route, Route)]
    here = [route for route in routes if route.matches(request.scope)[0] is not Match.NONE]
    return sorted({method for route in here for method in route.methods or ()})


def as_problem(error: Exception) -> Problem:
    """The problem an exception stands for; those that are our fault are logged."""
    match error:
        case Problem():
            return error
        case RequestValidationError():
            return _invalid(error)
        case ClientDisconnect():  # to whom nothing can be said
            return Problem(400, "The request ended before its body was whole.")
        case HTTPException():
            detail = _GENERIC.get(error.status_code, str(error.detail))
            return Problem(error.status_code, detail, headers=error.headers)
        case ArtifactError():
            return Problem(409, f"{error}; the bundle in use stays.", [(error.field, error.expected)])
        case InputError():
            return Problem(422, f"{error}.", [(error.field, error.expected)])
        case StoreFullError():
            return Problem(429, f"{error}.", headers={"Retry-After": "1"})
        case DiskFullError():
            LOG.error("%s", error)
            return Problem(507, "The disk of the event store is full: nothing of this post was kept.")
        case StoreBrokenError():
            LOG.error("%s", error)
            return Problem(
                503,
                "The event store cannot be used now: this post is not acknowledged; post it again.",
                headers={"Retry-After": "5"},
            )
    LOG.error("a request failed", exc_info=error)
    return Problem(500, "The service failed to answer; the failure is in its log.")


def _invalid(error: RequestValidationError) -> Problem:
    found = error.errors()
    errors = [_named(one) for one in found[:_TOLD]]
    said = [f"{_short(field)}: {_short(reason)}" for field, reason in errors[:3]]
    more = f" ({len(found) - _TOLD} more are not listed)" if len(found) > _TOLD else ""
    return Problem(422, f"{'; '.join(said)}{more}.", errors)


def _named(found: Mapping[str, object]) -> tuple[str, str]:
    """`("body", "items", 0, "item_id")` becomes `items[0].item_id`; a whole body stays `body`."""
    place = found["loc"]
    parts = list(place) if isinstance(place, Sequence) else []
    kind = str(found["type"])
    if kind == "json_invalid":
        context = found["ctx"]
        why = context.get("error") if isinstance(context, Mapping) else ""
        return "body", f"must be valid JSON ({why} at byte {parts[-1]})"
    field = ""
    for part in parts[1:] or parts:
        field += f"[{part}]" if isinstance(part, int) else f".{part}" if field else str(part)
    return field, _REASONS.get(kind) or _sentence(str(found["msg"]))


def _sentence(message: str) -> str:
    """pydantic's message as the end of a sentence that begins with the field."""
    for start in ("Value error, ", "Input ", "List ", "String ", "Dictionary "):
        message = message.removeprefix(start)
    return message.replace("should", "must", 1).replace(" after validation", "")
