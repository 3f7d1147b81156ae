"""Events: the one way in."""

from fastapi import Request, Response

from serving.auth import Writer
from serving.routes.base import BODY, Desk, answers, json, router
from serving.service import now_ms
from serving.shapes import Taken

ROUTES = router("events", prefix="/v1")
_EVENT = {"type": "object", "required": ["event_id", "type", "time"], "properties": {"type": {"type": "string"}}}
_BODY = {"application/json": {"schema": {"oneOf": [_EVENT, {"type": "array", "items": _EVENT, "maxItems": 1000}]}}}


@ROUTES.post(
    "/events",
    status_code=202,
    responses=answers(Taken, *BODY, 429, 507, status=202),
    openapi_extra={"requestBody": {"required": True, "content": _BODY}},
)
async def post_events(request: Request, service: Desk, _: Writer) -> Response:
    """Take one event, or an array of up to 1,000.

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
    taken = {"accepted": appended.accepted, "duplicates": appended.duplicates, "rejected": posted.rejected}
    return json(taken, 202)
