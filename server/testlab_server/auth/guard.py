"""Every request passes here first: a trusted host name, and a session unless the page is open to all."""

from __future__ import annotations

from urllib.parse import urlsplit

from flask import Flask, Response, make_response, render_template, request, session
from werkzeug.wrappers import Response as AnyResponse

OPEN_ENDPOINTS = frozenset({"static", "health.healthz", "login.enter", "login.enter_by_button"})
"""Whatever isn't named here is closed, pages that are added later too."""
_SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})


def install_guard(app: Flask, trusted: frozenset[str]) -> None:
    """Deny by default, before any view."""

    @app.before_request
    def guard() -> AnyResponse | None:
        if _host_name() not in trusted:
            return _untrusted()
        if request.method not in _SAFE_METHODS and not _from_own_page():
            return make_response(render_template("closed.html", say="this form was sent by another site"), 403)
        if request.endpoint in OPEN_ENDPOINTS or session.get("user"):
            return None
        return make_response(render_template("closed.html", say=None), 403)


def _host_name() -> str | None:
    """The name in the Host header without its port, None where it is absent or malformed."""
    try:
        return urlsplit(f"//{request.headers.get('Host', '')}").hostname
    except ValueError:
        return None


def _untrusted() -> Response:
    say = "This server doesn't answer to that host name. Use the address that `testlab serve` prints.\n"
    return Response(say, status=400, content_type="text/plain; charset=utf-8")


def _from_own_page() -> bool:
    """Whether a request that changes something comes from one of our pages; browsers say so, others say nothing."""
    site = request.headers.get("Sec-Fetch-Site", "same-origin")
    origin = request.headers.get("Origin")
    return site in ("same-origin", "none") and (origin is None or urlsplit(origin).netloc == request.host)
