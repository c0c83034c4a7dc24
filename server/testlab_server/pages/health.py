"""`/healthz`: whether the server and its store answer; open to all, and says nothing else."""

from __future__ import annotations

from flask import Blueprint
from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError

from testlab_server.reading import reading

blueprint = Blueprint("health", __name__)


@blueprint.get("/healthz")
def healthz() -> tuple[dict[str, bool], int]:
    """200 when both do, 503 when the store doesn't."""
    try:
        with reading() as connection:
            connection.execute(text("SELECT 1"))
    except SQLAlchemyError:
        return {"ok": False, "store": False}, 503
    return {"ok": True, "store": True}, 200
