"""Search, recommend, rank: one request, one slate, page by page."""

import asyncio
import time
from collections.abc import Mapping, Sequence
from typing import Any, Final

from fastapi import Response

from serving.auth import Reader
from serving.keyring import Key
from serving.ports import Slate
from serving.problems import Problem, refused
from serving.routes.base import BODY, Desk, Due, answers, json, router
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
_PROBLEMS = (*BODY, 410, 429)


@ROUTES.post("/search", responses=answers(Answer, *_PROBLEMS))
async def search(body: SearchRequest, service: Desk, key: Reader, due: Due) -> Response:
    """Rank the catalogue for a query.

    Page 0 computes the answer to depth 200 and keeps it for ten minutes; later pages name its `request_id`, and repeat
    what it asked or leave it out: another query, filter, sort or user is refused. What has become unavailable
    meanwhile, or was hidden or bought by the user, is missing from a later page; the places of the other items stay as
    they were.
    """
    return json(await _answer(service, "search", body, key, due))


@ROUTES.post("/recommend", responses=answers(Answer, *_PROBLEMS))
async def recommend(body: RecommendRequest, service: Desk, key: Reader, due: Due) -> Response:
    """Rank the catalogue for a user, or for an item (`surface: similar`)."""
    return json(await _answer(service, "recommend", body, key, due))


@ROUTES.post("/recommend/batch", responses=answers(BatchAnswer, *BODY, 429))
async def recommend_batch(body: BatchRequest, service: Desk, key: Reader, due: Due) -> Response:
    """The same recommendation for up to 100 users. Others' requests are answered in between."""
    started = time.perf_counter()
    results = [
        {"user_id": request.user_id, **await _answer(service, "recommend", request, key, due)}
        for request in body.requests()
    ]
    return json({"results": results, "took_ms": _since(started)})


@ROUTES.post("/rank", responses=answers(Answer, *BODY, 429))
async def rank(body: RankRequest, service: Desk, key: Reader, due: Due) -> Response:
    """Rank the caller's own items, each once, and mark what is the matter with one: `reason: unknown_item`, which is
    scored as new, or `unavailable`."""
    return json(await _answer(service, "rank", body, key, due))


async def _answer(service: Service, door: str, body: Asked, key: Key, due: float | None) -> dict[str, object]:
    started = time.perf_counter()
    page = body.page if isinstance(body, Paged) else 0
    if page:
        answer, slate = await _later(service, door, body, key, due)
    else:
        kept = await service.solve(door, body, key, due)
        places = range(_size(service, kept, body))
        if not await service.log(kept, 0, places[: len(kept.slate.item_ids)]):  # explored, and cannot be logged
            kept = await service.solve(door, body, key, due, explore=False)
            await service.log(kept, 0, places[: len(kept.slate.item_ids)])
        slate = kept.slate
        answer = _page(slate, places[: len(slate.item_ids)], slate.total, slate.facets)
        await _tell_fields(service, body, kept, answer, due)
    if body.explain:
        answer["trace"] = slate.trace
    return answer | {"took_ms": _since(started)}


async def _later(
    service: Service, door: str, body: Asked, key: Key, due: float | None
) -> tuple[dict[str, object], Slate]:
    """A page of a kept slate, less what may not be shown any more; the places of what stays are those of page 0."""
    assert isinstance(body, Paged)
    kept = await _kept(service, body, key)
    slate, page, size = kept.slate, body.page, _size(service, kept, body)
    asked = DOORS[kept.door].model_validate({**kept.request, "at": body.at})
    _require_the_same(door, kept, body, asked)
    still = await service.still(kept, asked, due)
    whole = range(page * size, min((page + 1) * size, len(slate.item_ids)))
    places = [at for at in whole if slate.item_ids[at] not in still.gone]
    if not await service.log(kept, page, places):
        why = "This page belongs to an explored answer and cannot be logged now; ask again."
        raise Problem(503, why, headers={"Retry-After": "1"})
    answer = _page(slate, places, still.total, still.facets)
    await _tell_fields(service, body, kept, answer, due)
    return answer, slate


async def _tell_fields(service: Service, body: Asked, kept: Kept, answer: dict[str, Any], due: float | None) -> None:
    items = answer["items"]
    told = await service.told(body, kept, [item["item_id"] for item in items], due)
    for item, fields in zip(items, told, strict=False):
        item["fields"] = fields


def _require_the_same(door: str, kept: Kept, body: Paged, first: Asked) -> None:
    """Raises Problem 422 for a later page of another request than page 0 answered: its items would be those of page 0,
    whatever is asked."""
    if door != kept.door or not isinstance(first, Paged):
        raise refused("request_id", f"is of an answer of /v1/{kept.door}: ask for its pages there")
    if others := body.differences(first):
        why = "is not what page 0 asked; ask page 0 again, or leave it out"
        named = ", ".join(others)
        raise Problem(422, f"{named}: {why}.", [(name, why) for name in others])


def _size(service: Service, kept: Kept, body: Asked) -> int:
    """Items of a page: as asked, else as page 0 was, else as configured."""
    if isinstance(body, Paged):
        first = kept.request.get("page_size")
        return body.page_size or (first if isinstance(first, int) else service.settings.serving.page_size)
    return len(kept.slate.item_ids)


async def _kept(service: Service, body: Asked, key: Key) -> Kept:
    """The slate that page 0 made. To name its request_id needs no scope; a time of one's own does."""
    if body.at is not None:
        service.identify(body, key)
    return await asyncio.to_thread(service.slates.find, body.request_id or "")


def _page(
    slate: Slate, places: Sequence[int], total: int, facets: Mapping[str, Mapping[str, int]]
) -> dict[str, object]:
    answer: dict[str, object] = {
        "request_id": slate.request_id,
        "items": [_item(slate, place) for place in places],
        "total": total,
        "facets": facets,
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
