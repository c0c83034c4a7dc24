"""`/login/<token>`: in by a one-time link; `/logout`: out."""

from __future__ import annotations

from flask import Blueprint, current_app, redirect, render_template, request, session, url_for
from werkzeug.wrappers import Response

from testlab_server.auth import LoginLinks, Refused, Sessions

blueprint = Blueprint("login", __name__)


@blueprint.get("/login/<token>")
def enter(token: str) -> Response | str | tuple[str, int]:
    """Open at once for a person who followed the link; for whatever else asks, a page with a button.

    Programs that fetch links to preview, prefetch or scan them would otherwise use the link up before its owner does.
    Browsers say of a navigation that it is one (`Sec-Fetch-*`), and of a prefetch that it is none (`Sec-Purpose`).
    """
    links = _links()
    try:
        if not _is_navigation():
            links.check(token)
            return render_template("login.html", token=token)
        return _opened(links, token)
    except Refused as refused:
        return render_template("closed.html", say=str(refused)), 403


@blueprint.post("/login/<token>")
def enter_by_button(token: str) -> Response | tuple[str, int]:
    """The button of that page."""
    try:
        return _opened(_links(), token)
    except Refused as refused:
        return render_template("closed.html", say=str(refused)), 403


@blueprint.post("/logout")
def leave() -> str:
    """End the session, for whoever has its cookie."""
    _sessions().end(session.get("id"))
    session.clear()
    return render_template("closed.html", say="you are logged out")


def _opened(links: LoginLinks, token: str) -> Response:
    links.spend(token)
    _sessions().end(session.get("id"))
    session.clear()
    session.permanent = True
    session["user"] = "link"
    session["id"] = _sessions().begin()
    return redirect(url_for("morning.show"), 303)


def _is_navigation() -> bool:
    headers = request.headers
    purpose = headers.get("Sec-Purpose") or headers.get("Purpose") or headers.get("X-Moz")
    follows = headers.get("Sec-Fetch-Mode") == "navigate" and headers.get("Sec-Fetch-Dest") == "document"
    return request.method == "GET" and follows and not purpose


def _links() -> LoginLinks:
    links: LoginLinks = current_app.extensions["testlab-login-links"]
    return links


def _sessions() -> Sessions:
    sessions: Sessions = current_app.extensions["testlab-sessions"]
    return sessions
