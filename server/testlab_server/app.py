"""The app factory of the report server."""

from __future__ import annotations

import datetime as dt

from flask import Flask
from sqlalchemy import Engine

from pytest_testlab.moments import zone
from pytest_testlab.money import euro
from testlab_server import mistakes, pages, reading, security
from testlab_server.ansi import plain
from testlab_server.auth import LoginLinks, Sessions, install_guard, server_secret
from testlab_server.config import ServerConfig, trusted_hosts
from testlab_server.present import nights, runs, statuses, words
from testlab_server.urls import TestIdConverter
from testlab_server.watching import Watches

SESSION_LIFETIME = dt.timedelta(days=30)
SPENT_LINKS = "spent-links"
MOST_BODY_BYTES = 64 * 1024
"""Of a request."""


def create_app(engine: Engine, config: ServerConfig) -> Flask:
    """The report server over a store; its own files go below the lab's home.

    Raises `UsageError` when the server's secret can be read by others.
    """
    app = Flask("testlab_server")
    secret = server_secret(config.folder)
    app.config.update(
        SECRET_KEY=secret,
        SESSION_COOKIE_NAME=config.cookie,
        SESSION_COOKIE_HTTPONLY=True,
        SESSION_COOKIE_SAMESITE="Lax",
        SESSION_COOKIE_SECURE=config.secure,
        SESSION_REFRESH_EACH_REQUEST=False,
        PERMANENT_SESSION_LIFETIME=SESSION_LIFETIME,
        MAX_CONTENT_LENGTH=MOST_BODY_BYTES,
    )
    app.url_map.converters["test"] = TestIdConverter
    app.extensions["testlab-login-links"] = LoginLinks(secret, config.folder / SPENT_LINKS, config.origin)
    sessions = Sessions(config.folder / "sessions", SESSION_LIFETIME.total_seconds())
    app.extensions["testlab-sessions"] = sessions
    reading.attach(app.extensions, engine)
    app.extensions["testlab-watches"] = Watches()
    security.install_headers(app)
    install_guard(app, trusted=trusted_hosts(config), origin=config.origin, sessions=sessions)
    mistakes.install(app)
    _teach_templates(app)
    for blueprint in pages.BLUEPRINTS:
        app.register_blueprint(blueprint)
    return app


def _zone_now() -> str:
    return zone(dt.datetime.now(dt.UTC).astimezone())


def login_links(app: Flask) -> LoginLinks:
    """What makes login links for an app."""
    links: LoginLinks = app.extensions["testlab-login-links"]
    return links


def _teach_templates(app: Flask) -> None:
    app.jinja_env.trim_blocks = True
    app.jinja_env.lstrip_blocks = True
    app.jinja_env.filters.update(
        duration=words.duration,
        euro=euro,
        size=words.size,
        moment=words.moment,
        ago=words.ago,
        counted=lambda count, one, many=None: words.counted(count, one, many),
        telling=words.telling,
        target_name=words.target_name,
        test_name=words.name_of,
        in_order=words.in_order,
        label=statuses.label,
        row_id=runs.row_id,
        row_order=runs.order,
        plain=plain,
    )
    app.jinja_env.globals.update(letters=statuses.LETTERS, shares=statuses.shares, said=nights.SAID, zone_now=_zone_now)
