"""Events: the one way in."""

from typing import Final

from fastapi import Request, Response

from serving.auth import Writer
from serving.event_schemas import EVENT
from serving.problems import Problem
from serving.routes.base import BODY, Desk, answers, json, router
from serving.service import now_ms
from serving.shapes import Taken

ROUTES = router("events", prefix="/v1")
_TOLD: Final = 20  # refused events of a post of which nothing is taken
_BODY = {"application/json": {"schema": {"oneOf": [EVENT, {"type": "array", "items": EVENT, "maxItems": 1000}]}}}


@ROUTES.post(
    "/events",
    status_code=202,
    responses=answers(Taken, *BODY, 429, 507, status=202),
    openapi_extra={"requestBody": {"required": True, "content": _BODY}},
)
async def post_events(request: Request, service: Desk, _: Writer) -> Response:
    """Take one event, or an array of up to 1,000.

    `event_id` and `time` may be left out: they are given, and told in `assigned`. To be able to post again without
    counting twice, name your events. Events that are refused are told in `rejected`, and the others taken; when none is
    taken, the answer is 422. A time is RFC 3339 or epoch milliseconds, from 1990 to a day ahead.

    Sound events are on the disk, and known to the next request of this worker, before the answer, and known to other
    workers a moment later; posting them again adds nothing. 429: too much waits for the disk; 507: the disk is full;
    503: it cannot be written. Then nothing was acknowledged: post the same events again, which are counted once.
    """
    body = await request.body()
    posted = await service.door.read(body, None if service.settings.replay else now_ms())
    appended = await service.take(posted.rows)
    counts = {"accepted": appended.accepted, "duplicate": appended.duplicates, "rejected": len(posted.rejected)}
    for outcome, count in counts.items():
        service.metrics.events.labels(outcome).inc(count)
    if not service.settings.replay:  # whose times are the caller's
        service.metrics.joins.posted(posted.told, *counts.values())
    if posted.rejected and not posted.rows:
        raise _refused(posted.rejected, several=body.lstrip()[:1] == b"[")
    taken = {"accepted": appended.accepted, "duplicates": appended.duplicates, "rejected": posted.rejected}
    return json(taken | ({"assigned": posted.assigned} if posted.assigned else {}), 202)


def _refused(rejected: list[dict[str, object]], *, several: bool) -> Problem:
    """422 for a post of which nothing is taken."""
    places = [f"[{why['index']}]." if several else "" for why in rejected]
    told = [(f"{place}{why['field']}", str(why["reason"])) for place, why in zip(places, rejected, strict=True)]
    more = f" The first {_TOLD} of {len(told)} events are told." if len(told) > _TOLD else ""
    return Problem(422, f"No event was taken: {told[0][0]}: {told[0][1]}.{more}", told[:_TOLD])
