"""Search, recommend, rank: one request, one slate, page by page."""

import asyncio
import time
from typing import Final

from fastapi import Response

from serving.auth import Key, Reader
from serving.ports import Slate
from serving.routes.base import Desk, Due, answers, json, router
from serving.service import Service
from serving.shapes import Answer, BatchAnswer
from serving.slates import Kept
from serving.wire import Asked, BatchRequest, Paged, RankRequest, RecommendRequest, SearchRequest

ROUTES = router("ranked answers", prefix="/v1")
DOORS: Final[dict[str, type[Asked]]] = {
    "search": SearchRequest,
    "recommend": RecommendRequest,
    "rank": RankRequest,
}
_PROBLEMS = (410, 413, 422, 429, 503)


@ROUTES.post("/search", responses=answers(Answer, *_PROBLEMS))
async def search(body: SearchRequest, service: Desk, key: Reader, due: Due) -> Response:
    """Rank the catalogue for a query.

    Page 0 computes the answer to depth 200 and keeps it for ten minutes; later pages name its `request_id`.
    """
    return json(await _answer(service, "search", body, key, due))


@ROUTES.post("/recommend", responses=answers(Answer, *_PROBLEMS))
async def recommend(body: RecommendRequest, service: Desk, key: Reader, due: Due) -> Response:
    """Rank the catalogue for a user, or for an item (`surface: similar`)."""
    return json(await _answer(service, "recommend", body, key, due))


@ROUTES.post("/recommend/batch", responses=answers(BatchAnswer, 413, 422, 429, 503))
async def recommend_batch(body: BatchRequest, service: Desk, key: Reader, due: Due) -> Response:
    """The same recommendation for up to 100 users. Others' requests are answered in between."""
    started = time.perf_counter()
    results = [
        {"user_id": request.user_id, **await _answer(service, "recommend", request, key, due)}
        for request in body.requests()
    ]
    return json({"results": results, "took_ms": _since(started)})


@ROUTES.post("/rank", responses=answers(Answer, 413, 422, 429, 503))
async def rank(body: RankRequest, service: Desk, key: Reader, due: Due) -> Response:
    """Rank the caller's own items, each once. One that nobody knows is scored as new: `reason: unknown_item`."""
    return json(await _answer(service, "rank", body, key, due))


async def _answer(service: Service, door: str, body: Asked, key: Key, due: float | None) -> dict[str, object]:
    started = time.perf_counter()
    page = body.page if isinstance(body, Paged) else 0
    if page:
        kept = await _kept(service, body, key)
    else:
        kept = await service.solve(door, body, key, due)
    size = len(kept.slate.item_ids)
    if isinstance(body, Paged):
        size = body.page_size or service.settings.serving.page_size
    service.log(kept, page, size)
    answer = _page(kept.slate, page, size)
    if body.explain:
        answer["trace"] = kept.slate.trace
    return answer | {"took_ms": _since(started)}


async def _kept(service: Service, body: Asked, key: Key) -> Kept:
    """The slate that page 0 made. To name its request_id needs no scope; a time of one's own does."""
    if body.at is not None:
        service.identify(body, key)
    return await asyncio.to_thread(service.slates.find, body.request_id or "")


def _page(slate: Slate, page: int, size: int) -> dict[str, object]:
    shown = range(page * size, min((page + 1) * size, len(slate.item_ids)))
    answer: dict[str, object] = {
        "request_id": slate.request_id,
        "items": [_item(slate, place) for place in shown],
        "total": slate.total,
        "facets": slate.facets,
        "refinements": slate.refinements,
        "degraded": slate.degraded,
        "bundle": slate.bundle,
        "arm": "main",
    }
    if slate.corrected_query is not None:
        answer["corrected_query"] = slate.corrected_query
    return answer


def _item(slate: Slate, place: int) -> dict[str, object]:
    item: dict[str, object] = {
        "item_id": slate.item_ids[place],
        "position": place,
        "score": slate.score[place],
        "p_click": slate.p_click[place],
        "p_convert": slate.p_convert[place],
        "kind": slate.kind[place],
        "sponsored": slate.sponsored[place],
        "channels": slate.channels[place],
    }
    if slate.reason[place] is not None:
        item["reason"] = slate.reason[place]
    return item


def _since(started: float) -> float:
    return round((time.perf_counter() - started) * 1000, 3)
