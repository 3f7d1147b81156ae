"""The right to be forgotten, in its plain form."""

from typing import Annotated

from fastapi import Path, Response

from serving.auth import Admin
from serving.routes.base import Desk, answers, json, router
from serving.shapes import Forgotten

ROUTES = router("users", prefix="/v1/users")
_NOTE = (
    "Removed from the store of events and from kept answers; what the bundle learned of the user is out of reach "
    "from now on. Logs exported before, and bundles trained on them, hold it until they are made anew."
)


@ROUTES.delete("/{user_id}", responses=answers(Forgotten, 422))
async def forget(user_id: Annotated[str, Path(min_length=1, max_length=128)], service: Desk, _: Admin) -> Response:
    """Remove a user's events; should the user come back, it is as somebody new."""
    removed = await service.forget(user_id)
    return json({"user_id": user_id, "events_removed": removed, "note": _NOTE})
