"""What the reaper beside a server met is on its page of servers."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from pathlib import Path

from pages import Lab, logged_in
from testlab_server.reaping import Reaping

from pytest_testlab.options import Settings
from pytest_testlab.pool.reaper import Reaped

HOST = {"Host": "127.0.0.1:8410"}


def test_errors_of_the_reaper_are_shown(new_lab: Callable[[], Lab], tmp_path: Path) -> None:
    """In a banner each, as harmless text; without any, when it was last there."""
    lab = new_lab()
    client = logged_in(lab)
    said: list[str] = []
    reaping = Reaping(Settings(home=str(tmp_path)), said.append)
    client.application.extensions["testlab-reaping"] = reaping
    assert "The reaper" not in client.get("/servers", headers=HOST).get_data(as_text=True)
    reaping.at = dt.datetime.now(dt.UTC)
    reaping.last = Reaped(errors=("cloud: it can't be listed: <script>alert(1)</script>",))
    page = client.get("/servers", headers=HOST).get_data(as_text=True)
    assert 'role="alert"' in page
    assert "The reaper: cloud: it can&#39;t be listed: &lt;script&gt;alert(1)&lt;/script&gt;" in page
    reaping.last = Reaped()
    page = client.get("/servers", headers=HOST).get_data(as_text=True)
    assert 'role="alert"' not in page
    assert "The reaper was last here" in page
