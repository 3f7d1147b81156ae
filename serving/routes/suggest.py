"""Query suggestions."""

from typing import Annotated

from fastapi import Query, Response

from serving.auth import Reader
from serving.ports import SuggestAsk
from serving.routes.base import Desk, Due, answers, json, router
from serving.shapes import Suggestions
from serving.wire import SuggestQuery

ROUTES = router("suggestions", prefix="/v1")


@ROUTES.get("/suggest", responses=answers(Suggestions, 429))
async def suggest(asked: Annotated[SuggestQuery, Query()], service: Desk, key: Reader, due: Due) -> Response:
    """Queries to offer: while typing (`complete`), before (`hint`, `discover`), or after an empty page (`rescue`)."""
    request_id, moment = service.identify(asked, key)
    ask = SuggestAsk(
        id=request_id,
        placement=asked.placement,
        prefix=asked.prefix or "",
        query=asked.query or "",
        subject=service.known_as(asked.subject),
        limit=asked.limit,
        time=moment,
    )
    found = await service.think(lambda: service.engine.suggest(ask), due)
    return json({"request_id": request_id, "suggestions": found})
