"""Pages that renew themselves: a page asks again with the digest of what it shows, and gets nothing if that is all."""

from __future__ import annotations

import hashlib

from flask import g, request
from werkzeug.wrappers import Response


def unchanged(shown: object) -> Response | None:
    """204, on which htmx leaves the page alone, when `seen` is the digest of `shown`; else None.

    A page that is left alone keeps what its reader has folded open, selected and scrolled to.
    """
    g.seen = hashlib.blake2s(repr(shown).encode(), digest_size=8).hexdigest()
    return Response(status=204) if request.args.get("seen") == g.seen else None
