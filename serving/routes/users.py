"""The right to be forgotten, in its plain form."""

from typing import Annotated

from fastapi import Path, Query, Response

from serving.auth import Admin
from serving.routes.base import Desk, answers, json, router
from serving.shapes import Forgotten
from serving.wire import Id

ROUTES = router("users", prefix="/v1/users")
_NOTE = (
    "Removed from the store of events, from kept answers and from feature snapshots, in their files too; no answer is "
    "personalised with what was known of the user from now on, in any worker. What was counted of the user stays in "
    "the numbers of items until `podium events compact` has run and the service has taken up a bundle trained after "
    "it; compaction also removes the user from the log. Bundles made before hold what they learned until retention "
    "removes them. Copies and exports made elsewhere are the caller's to remove."
)


@ROUTES.delete("/{user_id:path}", responses=answers(Forgotten, 429, 507))
async def forget(user_id: Annotated[Id, Path()], service: Desk, _: Admin) -> Response:
    """Remove a user's events; should the user come back, it is as somebody new."""
    removed = await service.forget(user_id)
    return json({"user_id": user_id, "events_removed": removed, "note": _NOTE})


@ROUTES.delete("", responses=answers(Forgotten, 429, 507))
async def forget_named(user_id: Annotated[Id, Query()], service: Desk, key: Admin) -> Response:
    """The same, for an id that a client or a proxy would change in a path: `.` and `..`, and where `%2F` is decoded."""
    return await forget(user_id, service, key)
