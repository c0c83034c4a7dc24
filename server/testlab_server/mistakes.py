"""The pages for what isn't there, isn't allowed, or can't be had now."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

from flask import Flask, render_template
from sqlalchemy.exc import DataError, OperationalError
from werkzeug.exceptions import HTTPException, NotFound

from pytest_testlab.errors import UsageError


class Unknown(NotFound):
    """A run, test or section that isn't there; `nearest` are `(name, address)` of what may have been meant."""

    def __init__(self, say: str, nearest: Iterable[tuple[str, str]] = ()) -> None:
        super().__init__(say)
        self.nearest = tuple(nearest)


def nearest_names(name: str, known: Iterable[str], count: int = 5) -> list[str]:
    """The known names closest to one that isn't."""
    return difflib.get_close_matches(name, list(known), n=count, cutoff=0.4)


def install(app: Flask) -> None:
    """One page for every mistake, in the pages' own dress."""

    @app.errorhandler(UsageError)
    def usage(error: UsageError) -> tuple[str, int]:
        return _page(404, "Not here", str(error)), 404

    @app.errorhandler(DataError)
    def nothing_like_it(error: DataError) -> tuple[str, int]:
        return _page(404, "Not here", "There is no page at this address."), 404

    @app.errorhandler(OperationalError)
    def store_away(error: OperationalError) -> tuple[str, int, dict[str, str]]:
        app.logger.warning("the store doesn't answer: %s", error.orig)
        say = "The store doesn't answer. The page tries again by itself; `testlab doctor` says what is wrong."
        return _page(503, "The store is away", say), 503, {"Refresh": "10", "Retry-After": "10"}

    @app.errorhandler(HTTPException)
    def http(error: HTTPException) -> tuple[str, int]:
        code = error.code or 500
        title = "Not here" if code == 404 else error.name
        say = error.description or ""
        if code == 404 and not isinstance(error, Unknown):
            say = "There is no page at this address."
        return _page(code, title, say, getattr(error, "nearest", ())), code


def _page(code: int, title: str, say: str, nearest: Iterable[tuple[str, str]] = ()) -> str:
    return render_template("mistake.html", code=code, title=title, say=say, nearest=tuple(nearest))
