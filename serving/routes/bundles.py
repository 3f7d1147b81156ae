"""Which bundle answers: look, activate, go back."""

import asyncio
from pathlib import Path

from fastapi import Response

from pipeline.bundle import bundles, current, promote, rollback
from serving.auth import Admin
from serving.problems import Problem, refused
from serving.routes.base import BODY, Desk, answers, json, router
from serving.service import Service
from serving.wire import Activation

ROUTES = router("bundles", prefix="/v1/bundle", responses=answers(dict[str, object], 409))


@ROUTES.get("")
async def get_bundle(service: Desk, _: Admin) -> Response:
    """The bundle in use: its parts and cutoff, the size of its catalogue, its cascades."""
    about = await service.on_engine(service.engine.describe)
    root = service.settings.bundles
    return json({**about, "bundle": service.engine.bundle_id, "bundles": bundles(root) if root else []})


@ROUTES.post("/activate", responses=answers(dict[str, object], 409, *BODY))
async def activate(body: Activation, service: Desk, _: Admin) -> Response:
    """Make a bundle the current one, in every worker. One that cannot be opened is refused and changes nothing."""
    root = _root(service)
    if body.bundle not in bundles(root):
        raise refused("bundle", f"must be one of {', '.join(bundles(root))}")

    if body.bundle != service.engine.bundle_id:
        await asyncio.to_thread(service.follower.open_ahead, body.bundle)

    def work() -> str:
        if body.bundle != service.engine.bundle_id:
            service.follower.swap(body.bundle)
        promote(root, body.bundle)
        return service.engine.bundle_id

    return json({"bundle": await service.on_engine(work)})


@ROUTES.post("/rollback", responses=answers(dict[str, object], 409, *BODY))
async def go_back(service: Desk, _: Admin) -> Response:
    """Make the bundle before the current one current again, in every worker."""
    root = _root(service)

    def work() -> str:
        before = current(root)
        chosen = rollback(root)
        try:
            service.follower.swap(chosen)
        except Exception:
            if before is not None:
                promote(root, before)
            raise
        return service.engine.bundle_id

    return json({"bundle": await service.on_engine(work)})


def _root(service: Service) -> Path:
    root = service.settings.bundles
    if root is None:
        raise Problem(409, "The service was started with one bundle; start it with a bundles root to change bundles.")
    return root
