"""The morning page tells of the nights that lab.toml plans."""

from __future__ import annotations

import datetime as dt
import re
import time
from collections.abc import Callable

import pytest
from flask.testing import FlaskClient
from nights import first_night
from pages import Lab, logged_in
from testlab_server.scheduler.jobs import Jobs
from testlab_server.scheduler.leader import Leadership

from pytest_testlab.labfile.format import Schedule
from pytest_testlab.store.writes import nights as writes

AT = dt.datetime.now(dt.UTC).replace(second=0, microsecond=0)
HOUR = dt.timedelta(hours=1)
NIGHTLY = Schedule(name="nightly", cron="30 2 1 1 *", zone="UTC", catalog=("apps",))


def plan(lab: Lab, at: dt.datetime) -> None:
    jobs = Jobs(lab.store.engine, lambda name, due: None)
    jobs.plan([NIGHTLY])
    jobs.modify_job("nightly", next_run_time=at)


def note(lab: Lab, at: dt.datetime, *, state: str, reason: str = "", caught_up: bool = False) -> None:
    with lab.store.engine.begin() as connection:
        writes.note_due(connection, "nightly", at, state=state, reason=reason, caught_up=caught_up)


def text_of(client: FlaskClient) -> str:
    page = client.get("/", headers={"Host": "127.0.0.1:8410"}).get_data(as_text=True)
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", page))


@pytest.fixture
def fresh(new_lab: Callable[[], Lab]) -> Lab:
    return new_lab()


def test_the_next_and_the_last(fresh: Lab) -> None:
    """When the next one is due, and that the last one was caught up; before the first run, too."""
    client = logged_in(fresh)
    assert "Nights" not in text_of(client)
    plan(fresh, AT + HOUR)
    assert "The first night is on its way" in text_of(client)
    fresh.play("20261120-0231-aaaa", first_night())
    note(fresh, AT - HOUR, state="finished", caught_up=True)
    said = text_of(client)
    assert re.search(r"Nights Next \w+ \d+ \w+ [\d ]*\d\d:\d\d Last .* finished, caught up", said), said
    assert "no scheduler is at work" not in said


def test_somebody_must_be_there_to_play_it(fresh: Lab) -> None:
    """A night is promised only while a scheduler is at work on this store; if none is, the page says what to do."""
    plan(fresh, AT + HOUR)
    client, leader = logged_in(fresh), Leadership(fresh.store.engine)
    warning = "The night nightly is planned, but nobody is at work to play it: start testlab serve"
    assert warning in text_of(client), "before the first run"
    fresh.play("20261120-0231-aaaa", first_night())
    assert leader.seek()
    try:
        assert "nobody is at work" not in text_of(client)
    finally:
        leader.give_up()
    deadline = time.monotonic() + 30
    while warning not in (said := text_of(client)):
        assert time.monotonic() < deadline, said
        time.sleep(0.05)


@pytest.mark.parametrize(
    ("state", "words"),
    [
        ("waiting", "waits: another"),
        ("refused", "was refused: another"),
        ("missed", "was missed: another"),
        ("failed", "failed to start: another"),
        ("lost", "was lost: another"),
    ],
)
def test_what_went_wrong(fresh: Lab, state: str, words: str) -> None:
    """A night that did not run as it should have, with the reason, before anything else; taken for text."""
    plan(fresh, AT + HOUR)
    fresh.play("20261120-0231-aaaa", first_night())
    note(fresh, AT - HOUR, state=state, reason="another <b>still</b> runs")
    client = logged_in(fresh)
    said = text_of(client)
    assert words in said
    page = client.get("/", headers={"Host": "127.0.0.1:8410"}).get_data(as_text=True)
    assert "another &lt;b&gt;still&lt;/b&gt; runs" in page


def test_nobody_is_at_work(fresh: Lab) -> None:
    """A night has been due for a while and nobody took it down: the page says so, and what to do."""
    plan(fresh, AT - HOUR)
    fresh.play("20261120-0231-aaaa", first_night())
    said = text_of(logged_in(fresh))
    assert "was due 1 h ago , and no scheduler is at work" in said
    assert "nobody is at work" not in said, "once is enough"
