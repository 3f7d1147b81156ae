"""Which bundle answers: look, activate, go back."""

import asyncio
from pathlib import Path

from fastapi import Response

from pipeline.bundle import current, listed, make_current, opened, previous
from serving.auth import Admin
from serving.problems import Problem, refused
from serving.routes.base import BODY, Desk, answers, json, router
from serving.service import Service
from serving.wire import Activation

ROUTES = router("bundles", prefix="/v1/bundle", responses=answers(dict[str, object], 409))


@ROUTES.get("")
async def get_bundle(service: Desk, _: Admin) -> Response:
    """The bundle in use: its parts and cutoff, the size of its catalogue, its cascades. Then all there are, by id, and
    those that are broken, with the reason."""
    about = await service.on_engine(service.engine.describe)
    root = service.settings.bundles
    told: dict[str, object] = {"bundles": [], "broken": {}}
    if root is not None:
        found = await asyncio.to_thread(listed, root)
        told = {"bundles": [each.id for each in found.bundles], "broken": found.broken}
    return json({**about, "bundle": service.engine.bundle_id, **told})


@ROUTES.post("/activate", responses=answers(dict[str, object], 409, *BODY))
async def activate(body: Activation, service: Desk, _: Admin) -> Response:
    """Make a bundle the current one, in every worker. One that cannot be opened is refused and changes nothing."""
    return json({"bundle": await _use(service, body.bundle)})


@ROUTES.post("/rollback", responses=answers(dict[str, object], 409, *BODY))
async def go_back(service: Desk, _: Admin) -> Response:
    """Make the bundle before the current one current again, in every worker. One that cannot be opened is refused and
    changes nothing."""
    return json({"bundle": await _use(service, previous(_root(service)))})


async def _use(service: Service, bundle_id: str) -> str:
    """Open a bundle beside the one that answers, then serve it here, then tell the others by making it current."""
    root = _root(service)
    found = await asyncio.to_thread(listed, root)
    if bundle_id in found.broken:
        why = found.broken[bundle_id]
        raise Problem(409, f"{why}; the bundle in use stays.", [("bundle", why)])
    if bundle_id not in (known := [each.id for each in found.bundles]):
        raise refused("bundle", f"must be one of {', '.join(known)}")
    if bundle_id == service.engine.bundle_id:
        await asyncio.to_thread(opened, root, bundle_id)
    else:
        await asyncio.to_thread(service.follower.open_ahead, bundle_id)

    def work() -> str:
        before = current(root)
        make_current(root, bundle_id)
        try:
            if bundle_id != service.engine.bundle_id:
                service.follower.swap(bundle_id)
        except Exception:
            if before is not None:
                make_current(root, before)
            raise
        return service.engine.bundle_id

    return await service.on_engine(work)


def _root(service: Service) -> Path:
    root = service.settings.bundles
    if root is None:
        raise Problem(409, "The service was started with one bundle; start it with a bundles root to change bundles.")
    return root
