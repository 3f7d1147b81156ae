"""Why an answer is what it is."""

import asyncio
from dataclasses import replace
from typing import Annotated

from fastapi import Path, Query, Response

from serving.auth import Reader
from serving.routes.base import Desk, Due, answers, json, router
from serving.routes.ranked import DOORS
from serving.shapes import Explained
from serving.wire import Id

ROUTES = router("ranked answers", prefix="/v1")


@ROUTES.get("/requests/{request_id:path}/explain", responses=answers(Explained, 410, 429))
async def explain(
    request_id: Annotated[Id, Path()],
    service: Desk,
    due: Due,
    _: Reader,
    item_id: Annotated[Id | None, Query(description="the item in question")] = None,
) -> Response:
    """The trace of a request of the last ten minutes; with `item_id` also what found the item, where it was shown,
    or which stage lost it and by what margin.
    """
    kept = await asyncio.to_thread(service.slates.find, request_id)
    slate = kept.slate
    answer: dict[str, object] = {
        "request_id": request_id,
        "bundle": slate.bundle,
        "tick": slate.tick,
        "cascade": slate.cascade,
        "degraded": slate.degraded,
        "trace": slate.trace,
    }
    if item_id is None:
        return json(answer)
    if problem := service.slate_problem(slate):
        raise problem
    body = DOORS[kept.door].model_validate(kept.request)
    ask = body.ask(request_id, kept.time, service.settings.serving.segment)
    ask = replace(ask, subject=service.known_as(ask.subject))
    fate = await service.think(lambda: service.engine.explain(ask, item_id), due)
    # Whether it was shown is told by the slate that was served, not by the one that is computed now.
    position = slate.item_ids.index(item_id) if item_id in slate.item_ids else None
    shown = {"item_id": item_id, "shown": position is not None, "position": position}
    return json({**fate, **answer, **shown})
