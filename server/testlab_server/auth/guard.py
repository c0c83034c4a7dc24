"""Every request passes here first: a trusted host name, and a session unless the page is open to all."""

from __future__ import annotations

import re

from flask import Flask, Response, make_response, render_template, request, session
from werkzeug.wrappers import Response as AnyResponse

from testlab_server.auth.sessions import Sessions

OPEN_ENDPOINTS = frozenset({"static", "health.healthz", "login.enter", "login.enter_by_button"})
"""Whatever isn't named here is closed, pages that are added later too."""
_SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
_HOST = re.compile(r"(?:\[([0-9A-Fa-f:.]+)\]|([A-Za-z0-9._-]+))(?::[0-9]{1,5})?")
"""A Host header and nothing but: a name or address, and a port."""


def install_guard(app: Flask, *, trusted: frozenset[str], origin: str, sessions: Sessions) -> None:
    """Deny by default, before any view; `origin` is the address that users type."""

    @app.before_request
    def guard() -> AnyResponse | None:
        if _host_name() not in trusted:
            return _untrusted()
        if request.method not in _SAFE_METHODS and not _from_own_page(origin):
            return make_response(render_template("closed.html", say="this form was sent by another site"), 403)
        if request.endpoint in OPEN_ENDPOINTS or sessions.is_open(session.get("id")):
            return None
        return make_response(render_template("closed.html", say=None), 403)


def _host_name() -> str | None:
    """The name in the Host header without its port, None where it is absent or malformed."""
    match = _HOST.fullmatch(request.headers.get("Host", ""))
    return None if match is None else (match[1] or match[2]).lower()


def _untrusted() -> Response:
    say = "This server doesn't answer to that host name. Use the address that `testlab serve` prints.\n"
    return Response(say, status=400, content_type="text/plain; charset=utf-8")


def _from_own_page(own: str) -> bool:
    """Whether a request that changes something comes from one of our pages, which every browser says in a header.

    What says nothing is no browser of today: it is let through to the open pages, and never by a cookie.
    """
    site, origin = request.headers.get("Sec-Fetch-Site"), request.headers.get("Origin")
    if site is None and origin is None:
        return not session
    is_own = origin is None or origin == own or origin.partition("://")[2] == request.host
    return is_own and site in (None, "same-origin", "none")
