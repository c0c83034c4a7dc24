"""A run that got no target says on its pages how it tried."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Callable
from contextlib import closing

from pages import Lab, logged_in
from recorded import planned, provenance

from pytest_testlab.recording import events
from pytest_testlab.recording.folder import RunFolder
from pytest_testlab.recording.journal import Journal
from pytest_testlab.recording.recover import recover

TEST = "apps/a/testlab.toml::install"
HOST = {"Host": "127.0.0.1:8410"}
AT = dt.datetime(2026, 11, 21, 2, 31, tzinfo=dt.UTC)


def test_the_transcript_of_a_run_without_targets(new_lab: Callable[[], Lab]) -> None:
    """The run's page has it open, each test that never ran has it as its bundle, and nothing in it is obeyed."""
    lab = new_lab()
    folder = RunFolder.create(lab.store.home, "r1")
    with closing(Journal(folder.path, "controller")) as journal:
        journal.append(events.run_started(provenance("r1")))
        journal.append(events.collected([planned(TEST)], selection="all"))
        journal.append(events.target_event(slot=0, name="slot 0", state="provisioning", at=AT))
        journal.append(events.provisioning(slot=0, at=AT, say="<script>alert(1)</script> \x1b[31min the north"))
        journal.append(events.target_event(slot=0, name="slot 0", state="lost", at=AT, say="no capacity"))
    folder.close()
    recover(lab.store.engine, lab.store.home)
    client = logged_in(lab)
    page = client.get("/runs/r1", headers=HOST).get_data(as_text=True)
    assert '<details id="provisioning" open>' in page
    assert "02:31:00.000  slot 0  lost: no capacity" in page
    for address in ("/runs/r1", f"/runs/r1/tests/{TEST}", f"/runs/r1/tests/{TEST}/0/provisioning"):
        answer = client.get(address, headers=HOST)
        text = answer.get_data(as_text=True)
        assert answer.status_code == 200
        assert "no capacity" in text
        assert "<script>alert" not in text
        assert "\x1b" not in text


def test_a_run_that_was_given_up_is_loud(new_lab: Callable[[], Lab]) -> None:
    """Exit code 6 and the reasons stand in a banner on its page and on the morning page."""
    lab = new_lab()
    folder = RunFolder.create(lab.store.home, "r1")
    why = "1 of 4 targets can be had, and --testlab-min-pool is 2: no capacity"
    with closing(Journal(folder.path, "controller")) as journal:
        journal.append(events.run_started(provenance("r1")))
        journal.append(events.collected([planned(TEST)], selection="all"))
        journal.append(events.run_finished(state="aborted", exit_code=6, finished_at=AT, say=why))
    folder.close()
    recover(lab.store.engine, lab.store.home)
    client = logged_in(lab)
    for address in ("/runs/r1", "/"):
        page = client.get(address, headers=HOST).get_data(as_text=True)
        [banner] = re.findall(r'<p class="banner banner-bad" role="alert">.*?</p>', page)
        assert "There were no proven blank targets</b>, exit code 6: " + why in banner
