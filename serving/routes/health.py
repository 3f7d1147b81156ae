"""Alive, ready, measured."""

from fastapi import Request, Response
from fastapi.responses import PlainTextResponse
from prometheus_client import CONTENT_TYPE_LATEST

from serving.routes.base import Desk, answers, json, router
from serving.shapes import Health
from serving.telemetry import Metrics

ROUTES = router("health")


@ROUTES.head("/healthz", include_in_schema=False)
@ROUTES.get("/healthz", responses=answers(Health))
async def healthz() -> Response:
    """The process is alive."""
    return json({"status": "ok"})


@ROUTES.head("/readyz", include_in_schema=False)
@ROUTES.get("/readyz", responses=answers(Health))
async def readyz(service: Desk) -> Response:
    """The bundle is open, the events are learned, and a first answer was given."""
    return json({"status": "ready", "bundle": service.engine.bundle_id})


@ROUTES.get("/metrics", response_class=PlainTextResponse, responses=answers(None))
async def metrics(request: Request) -> Response:
    """The service's numbers, for Prometheus: of all its workers together, whichever answers."""
    numbers: Metrics = request.app.state.metrics
    return Response(numbers.text(), media_type=CONTENT_TYPE_LATEST)
