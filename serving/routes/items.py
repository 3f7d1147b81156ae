"""Items one by one: what the catalogue says of one, a change of it, its end."""

from typing import Annotated, Any

import orjson
from fastapi import Path, Query, Response

from serving.auth import Reader, Writer
from serving.problems import Problem
from serving.routes.base import BODY, Desk, answers, json, router
from serving.service import Service, now_ms
from serving.shapes import ItemAnswer, Removed
from serving.wire import Id, ItemPatch

ROUTES = router("items", prefix="/v1/items")
_SAME_MOMENT = 1_000  # ms; a row that is as little ahead is of before all the same
InPath = Annotated[Id, Path()]
InQuery = Annotated[Id, Query(description="for an id that a client or a proxy would change in a path")]


@ROUTES.get("/{item_id:path}", responses=answers(ItemAnswer, 404))
async def get_item(item_id: InPath, service: Desk, _: Reader) -> Response:
    """The item as it stands. 404 for one that was removed, or that no `item` event describes."""
    return json(await _standing(service, item_id))


@ROUTES.get("", responses=answers(ItemAnswer, 404))
async def get_named(item_id: InQuery, service: Desk, key: Reader) -> Response:
    """The same, named in the query string."""
    return await get_item(item_id, service, key)


@ROUTES.patch("/{item_id:path}", responses=answers(ItemAnswer, *BODY, 404, 429, 507))
async def patch_item(item_id: InPath, body: ItemPatch, service: Desk, _: Writer) -> Response:
    """Change what the body names and keep the rest (RFC 7396): null takes a field away, `attributes` are merged by
    name. On the disk and known before the answer, which is the item as it then stands.

    An `item` event with `"partial": true` does the same.
    """
    before = await _standing(service, item_id)
    named = body.model_dump(exclude_unset=True)
    if named:
        await _tell(service, item_id, before, {**named, "partial": True})
    return json(await _standing(service, item_id))


@ROUTES.patch("", responses=answers(ItemAnswer, *BODY, 404, 429, 507))
async def patch_named(item_id: InQuery, body: ItemPatch, service: Desk, key: Writer) -> Response:
    """The same, named in the query string."""
    return await patch_item(item_id, body, service, key)


@ROUTES.delete("/{item_id:path}", responses=answers(Removed, 404, 429, 507))
async def delete_item(item_id: InPath, service: Desk, _: Writer) -> Response:
    """Show the item nowhere from now on, until an `item` event that is not partial describes it again.

    Doing it twice is doing it once; 404 for an item that no event describes.
    """
    about = await service.on_engine(lambda: service.engine.item(item_id))
    if about is None:
        raise _unknown(item_id)
    if not about["removed"]:
        await _tell(service, item_id, about, {"removed": True})
    return json({"item_id": item_id, "removed": True})


@ROUTES.delete("", responses=answers(Removed, 404, 429, 507))
async def delete_named(item_id: InQuery, service: Desk, key: Writer) -> Response:
    """The same, named in the query string."""
    return await delete_item(item_id, service, key)


async def _standing(service: Service, item_id: str) -> dict[str, Any]:
    about = await service.on_engine(lambda: service.engine.item(item_id))
    if about is None or about["removed"]:
        raise _unknown(item_id)
    return about


def _unknown(item_id: str) -> Problem:
    told = f"No item {item_id!r} is described; an `item` event describes one."
    return Problem(404, told, [("item_id", "is unknown")])


async def _tell(service: Service, item_id: str, before: dict[str, Any], said: dict[str, Any]) -> None:
    """Take an `item` event of now, which is after what is known, also within a millisecond."""
    now = now_ms()
    time = max(now, min(before["time"], now + _SAME_MOMENT) + 1)
    event = {"type": "item", "item_id": item_id, "time": time, **said}
    posted = await service.door.read(orjson.dumps(event), None if service.settings.replay else now)
    if posted.rejected:
        errors = [(str(why["field"]), str(why["reason"])) for why in posted.rejected]
        raise Problem(422, "; ".join(f"{field}: {reason}" for field, reason in errors) + ".", errors)
    await service.take(posted.rows)
