"""`/servers`: what is alive now. Read from the store alone: nothing here asks a provider."""

from __future__ import annotations

import datetime as dt

from flask import Blueprint, render_template
from werkzeug.wrappers import Response

from pytest_testlab.store.reads import leases
from testlab_server.pages.polling import unchanged
from testlab_server.present.servers import SILENT_S, servers
from testlab_server.reading import reading

blueprint = Blueprint("servers", __name__, url_prefix="/servers")


@blueprint.get("")
def index() -> str | Response:
    """Every server that a run uses or has kept."""
    with reading() as connection:
        shown = servers(leases.alive(connection, silent_s=SILENT_S), dt.datetime.now(dt.UTC))
    return unchanged(shown) or render_template("servers.html", servers=shown)
