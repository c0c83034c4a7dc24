"""`/servers`: what is alive now, by the store, and what the reaper beside this server last met. Asks no provider."""

from __future__ import annotations

import datetime as dt

from flask import Blueprint, current_app, render_template
from werkzeug.wrappers import Response

from pytest_testlab.store.reads import leases
from testlab_server.pages.polling import unchanged
from testlab_server.present.servers import SILENT_S, servers
from testlab_server.reading import reading
from testlab_server.reaping import Reaping

blueprint = Blueprint("servers", __name__, url_prefix="/servers")


@blueprint.get("")
def index() -> str | Response:
    """Every server that a run uses or has kept."""
    with reading() as connection:
        shown = servers(leases.alive(connection, silent_s=SILENT_S), dt.datetime.now(dt.UTC))
    reaper: Reaping | None = current_app.extensions.get("testlab-reaping")
    errors = reaper.last.errors if reaper is not None and reaper.last is not None else ()
    return unchanged((shown, errors)) or render_template(
        "servers.html", servers=shown, reaped_at=reaper.at if reaper is not None else None, errors=errors
    )
