"""What the server does besides the page: the end of its engine, a route that tells its health, safe headers."""

from __future__ import annotations

import sys
import threading
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

from anyio import to_thread
from starlette.datastructures import MutableHeaders
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from streamlit import config

from explorer.config.settings import SettingError, Settings, UnusableStore
from explorer.ui import resources
from explorer.workers import garbage

HEALTH = "/healthz"


def options() -> dict[str, Any]:
    """What `st.App` is made with besides its page.

    An EXPLORER_* variable that cannot be used is named on standard error, and then by the page.
    """
    try:
        settings = Settings.from_environment()
        frame_ancestors = settings.frame_ancestors
        for remark in settings.remarks():
            print(f"explorer: {remark}", file=sys.stderr)
    except SettingError as error:
        print(f"explorer: {error}", file=sys.stderr)
        frame_ancestors = "self"
    return {"lifespan": _lifespan, "routes": [Route(path, _health) for path in health_addresses()],
            "middleware": [Middleware(Headers, headers=headers(frame_ancestors))]}


def health_addresses() -> list[str]:
    """Where the server tells its health: whoever asks may know of `server.baseUrlPath`, or ask beside the proxy.

    Anything else below that path is the page, and 200 whatever the state.
    """
    base = (config.get_option("server.baseUrlPath") or "").strip("/")
    bases = ["", f"/{base}"] if base else [""]
    return [f"{base}{HEALTH}{slash}" for base in bases for slash in ("", "/")]


def headers(frame_ancestors: str) -> dict[str, str]:
    """Security headers of every answer.

    Args:
        frame_ancestors: who may show the page in a frame, see `Settings`.
    """
    found = {
        "X-Content-Type-Options": "nosniff",
        # The address holds what somebody has been doing.
        "Referrer-Policy": "same-origin",
    }
    if frame_ancestors != "any":
        sources = {"self": "'self'", "none": "'none'"}.get(frame_ancestors, f"'self' {frame_ancestors}")
        found["Content-Security-Policy"] = f"frame-ancestors {sources}"
    # It cannot name others; browsers that know the policy above go by that.
    if frame_ancestors in ("self", "none"):
        found["X-Frame-Options"] = {"self": "SAMEORIGIN", "none": "DENY"}[frame_ancestors]
    return found


class Headers:
    """Middleware that adds headers to every answer; a socket passes untouched."""

    def __init__(self, app: ASGIApp, headers: Mapping[str, str]):
        self._app, self._headers = app, headers

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(self._headers)
            await send(message)

        await self._app(scope, receive, send_with_headers if scope["type"] == "http" else send)


@asynccontextmanager
async def _lifespan(app: Any) -> AsyncIterator[None]:
    threading.Thread(target=_import_page, name="page-imports", daemon=True).start()
    yield
    try:
        await to_thread.run_sync(resources.engine().close)
    except SettingError:
        pass  # there has never been one


def _import_page() -> None:
    # What the page draws with, while nobody waits for it.
    with garbage.left_alone():
        from explorer.ui import page  # noqa: F401


def _health(request: Request) -> JSONResponse:
    """200 where runs can be trained or are about to be, 503 where they cannot."""
    try:
        engine = resources.engine()
    except UnusableStore:
        return JSONResponse({"status": "no store"}, 503)
    except SettingError:
        return JSONResponse({"status": "settings cannot be used"}, 503)
    if engine.is_broken or engine.why_broken:
        return JSONResponse({"status": "training does not start"}, 503)
    if engine.trouble:
        return JSONResponse({"status": "store cannot be used"}, 503)
    return JSONResponse({"status": "ok", "worker": "ready" if engine.is_ready else "starting"})
