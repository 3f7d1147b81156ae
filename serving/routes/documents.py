"""The documentation of the API, read from its own OpenAPI document; nothing comes from another server."""

from fastapi import Response

from serving.routes.base import router, web_file

ROUTES = router("documents", include_in_schema=False)


@ROUTES.get("/docs")
async def docs() -> Response:
    return web_file("docs.html", "text/html; charset=utf-8")
