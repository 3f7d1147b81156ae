"""The right to be forgotten, in its plain form."""

from typing import Annotated

from fastapi import Path, Response

from serving.auth import Admin
from serving.routes.base import Desk, answers, json, router
from serving.shapes import Forgotten

ROUTES = router("users", prefix="/v1/users")
_NOTE = (
    "Removed from the store of events, from kept answers and from feature snapshots, in their files too; no answer is "
    "personalised with what was known of the user from now on, in any worker. What was counted of the user stays in "
    "the numbers of items until `podium events compact` has run and the service has taken up a bundle trained after "
    "it; compaction also removes the user from the log. Bundles made before hold what they learned until retention "
    "removes them. Copies and exports made elsewhere are the caller's to remove."
)


@ROUTES.delete("/{user_id}", responses=answers(Forgotten, 429, 507))
async def forget(user_id: Annotated[str, Path(min_length=1, max_length=128)], service: Desk, _: Admin) -> Response:
    """Remove a user's events; should the user come back, it is as somebody new."""
    removed = await service.forget(user_id)
    return json({"user_id": user_id, "events_removed": removed, "note": _NOTE})
