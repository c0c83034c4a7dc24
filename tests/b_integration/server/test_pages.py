"""The pages over a real store: what they say, in which order, and what they do when something isn't there."""

from __future__ import annotations

import dataclasses
import re
import time
from collections.abc import Callable
from html import unescape

import pytest
from flask.testing import FlaskClient
from nights import CHECK, CRASH, HOSTILE, LOST, PROXY, SKIPPED, Outcome, app
from pages import Lab, logged_in
from testlab_server import reading, watching

from pytest_testlab.store.engine import make_engine
from pytest_testlab.store.reads import runs

HOST = {"Host": "127.0.0.1:8410"}


def page_of(client: FlaskClient, path: str, status: int = 200) -> str:
    answer = client.get(path, headers=HOST)
    assert answer.status_code == status, answer.get_data(as_text=True)
    return answer.get_data(as_text=True)


def text_of(page: str) -> str:
    """What a reader sees, in one line."""
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", page))


def part_of(page: str, identity: str) -> str:
    """A group of the morning page."""
    start = page.index(f'id="{identity}"')
    return page[start : page.index("</ul>", start)]


def test_the_morning_says_what_changed(client: FlaskClient) -> None:
    """Newly failing first, then newly fixed, then still failing with the changed cause flagged, then the rest."""
    page = page_of(client, "/")
    order = ["newly-failing", "newly-fixed", "still-failing", "errors", "flaky", "blocked", "skipped"]
    places = [page.index(f'id="{identity}"') for identity in order]
    assert places == sorted(places)
    assert "2 tests broke, 1 mended, 3 still failing, 1 error of the lab" in text_of(page)
    assert "proxy-502" in part_of(page, "newly-failing")
    assert "where nothing listens" in part_of(page, "newly-failing")
    assert "radicale" in part_of(page, "newly-fixed")
    still = part_of(page, "still-failing")
    assert still.count("another cause than before") == 1
    assert "2 runs, since" in text_of(still)
    assert "wiki" in part_of(page, "errors")
    assert SKIPPED.reason is not None
    assert "apt-get install golang" in part_of(page, "skipped")


def test_the_morning_links_each_test_to_its_cause(client: FlaskClient) -> None:
    """From the morning page, the link of a failure leads to its headline, class, rule and evidence."""
    page = page_of(client, "/")
    address = re.search(rf'href="([^"]+{re.escape(PROXY.test)})"', page)
    assert address is not None
    cause = page_of(client, address[1])
    assert PROXY.headline[0] in cause
    assert "proxy-502/front-door-5xx-inside-ok" in cause
    assert re.search(r'aria-current="true"[^>]*>proxy-probe', cause), "the section that shows the cause is open"
    assert '<div class="ln hit"' in cause


def test_provenance(client: FlaskClient) -> None:
    """Who ran what, where, for how long."""
    text = text_of(page_of(client, "/"))
    for fact in ("20261121-0231-bbbb", "scheduled-nightly", "ada", "main 4f1c0ffee4", "2 × local", "procfile", "6 h"):
        assert fact in text


def test_the_nightly_lane_is_shown_first(new_lab: Callable[[], Lab]) -> None:
    """A run from a terminal has a lane of its own, one click away."""
    lab = new_lab()
    lab.play("20261120-0231-aaaa", [Outcome(test=app("wiki") + "::install")], days_ago=1)
    lab.play("20261121-0900-cccc", [PROXY], mode="cli")
    client = logged_in(lab)
    page = page_of(client, "/")
    assert "20261120-0231-aaaa" in page
    other = re.search(r'href="(/\?lane=[^"]+)"[^>]*>cli/', page)
    assert other is not None
    assert "20261121-0900-cccc" in page_of(client, other[1])
    assert "No run in this lane" in page_of(client, "/?lane=nothing")


def test_a_run_without_tests(new_lab: Callable[[], Lab]) -> None:
    """Its page says that it ended, and why; the morning page stays with the night before it, and notes it."""
    lab = new_lab()
    lab.play("20261120-0231-aaaa", [CRASH], days_ago=1)
    with lab.running("20261121-1000-none", []):
        pass
    client = logged_in(lab)
    said = text_of(page_of(client, "/runs/20261121-1000-none"))
    assert "It ended before any test ran: Ctrl-C" in said
    assert "Nothing yet" not in said
    morning = text_of(page_of(client, "/"))
    assert re.search("The last run, 20261121-1000-none , ended .* before any test ran: Ctrl-C", morning), morning
    assert "1 failing on the first night" in morning


def test_runs(client: FlaskClient) -> None:
    """Newest first, each with its counts."""
    page = page_of(client, "/runs")
    assert page.index("20261121-0231-bbbb") < page.index("20261120-0231-aaaa")
    assert "5 failed" in text_of(page)


def test_a_run(client: FlaskClient) -> None:
    """Every result, failures first, with class, headline or reason, and what is common to all paths left out."""
    page = page_of(client, "/runs/latest")
    table = page[page.index("<tbody>") : page.index("</tbody>")]
    order = [table.index(f"st-{status}") for status in ("failed", "error", "blocked", "flaky", "skipped", "passed")]
    assert order == sorted(order)
    assert "broken/proxy-502" in table
    assert "apt-get install golang" in table
    assert "hx-trigger" not in page, "a run that is over is not polled"


def test_a_run_that_goes_on(new_lab: Callable[[], Lab]) -> None:
    """The page polls while the run lasts; results that didn't move aren't sent again, and the end ends the polling."""
    lab = new_lab()
    client = logged_in(lab)
    outcomes = [CRASH, Outcome(test=app("wiki") + "::install"), Outcome(test=app("site") + "::install")]
    with lab.running("20261121-1000-live", outcomes) as night:
        night.start(outcomes[0])
        wait_for(client, "/runs/20261121-1000-live", "status st-running")
        poll = poll_when_quiet(client, "/runs/20261121-1000-live")
        assert "0 of 3 tests" in text_of(page_of(client, poll))
        night.finish(outcomes[0])
        night.start(outcomes[1], slot=1)
        moved = wait_for(client, poll, "status st-failed")
        assert 'hx-swap-oob="true"' in moved
        assert "<title>1/3" in moved
        assert 'id="run-body"' not in moved
        assert app("site") not in moved, "what didn't move isn't sent again"
        stranger = page_of(client, "/runs/20261121-1000-live/live?seen=0-1")
        assert 'id="run-body"' in stranger
        assert stranger.count("<tr id=") == 3
        banner = text_of(wait_for(client, "/", "20261121-1000-live"))
        assert "1 test broke" not in banner
    over = wait_for(client, poll, "interrupted")
    assert "hx-trigger" not in over
    assert "Ctrl-C" in over


def test_a_run_that_is_read_before_its_plan_is_not_sent_twice(
    new_lab: Callable[[], Lab], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The row of a run is read before its results, and the plan may come in between."""
    lab = new_lab()
    monkeypatch.setattr(watching, "FRESH_S", 0.0)
    with lab.running("20261121-1000-plan", [CRASH]) as night:
        night.start(CRASH)
        wait_for(logged_in(lab), "/runs/20261121-1000-plan", "status st-running")
        with lab.store.engine.connect() as connection:
            run = runs.get_run(connection, "20261121-1000-plan")
            assert run is not None
            watch = watching.Watch()
            watch.read(connection, dataclasses.replace(run, planned=0))
            shown = watch.seen
            watch.read(connection, run)
            assert watch.rows_since(shown) == ""


def poll_when_quiet(client: FlaskClient, path: str) -> str:
    """The address that the page of a run polls, once it leaves the results out because they don't move any more."""
    deadline = time.monotonic() + 15
    while time.monotonic() < deadline:
        found = re.search(r'hx-get="([^"]+)" hx-trigger="every 300ms"', page_of(client, path))
        assert found is not None
        if "<tr" not in page_of(client, found[1]):
            return found[1]
    raise AssertionError("the results are sent each time, though nothing moves")


def wait_for(client: FlaskClient, path: str, text: str) -> str:
    """Ask until it is there; the recorder needs a moment."""
    deadline = time.monotonic() + 15
    while text not in (page := client.get(path, headers=HOST).get_data(as_text=True)):
        assert time.monotonic() < deadline, f"{text!r} is not in {text_of(page)}"
        time.sleep(0.05)
    return page


def test_hostile_text_is_harmless(client: FlaskClient) -> None:
    """Markup of a log is text on the page; the whole text is a download in plain text, byte for byte."""
    page = page_of(client, f"/runs/latest/tests/{CHECK.test}/1/app")
    assert "<script>window" not in page
    assert "&lt;script&gt;window.hacked = 1&lt;/script&gt;" in page
    assert '<span class="fg-red">red alert</span>' in page
    assert 'hx-get="/logout"' not in page
    answer = client.get(f"/runs/latest/tests/{CHECK.test}/1/app.txt", headers=HOST)
    assert answer.data == HOSTILE
    assert answer.content_type == "text/plain; charset=utf-8"
    assert answer.headers["Content-Disposition"].startswith("attachment;")
    assert answer.headers["X-Content-Type-Options"] == "nosniff"


def test_an_absent_section_says_why(client: FlaskClient) -> None:
    """Nothing is missing in silence."""
    address = f"/runs/latest/tests/{CHECK.test}/1/journald"
    assert "Absent: this target has no systemd" in text_of(page_of(client, address))
    assert "is absent" in page_of(client, address + ".txt", 404)


def test_a_test_that_never_reached_a_server(client: FlaskClient) -> None:
    """A blocked test has a page too, with the reason, and a link to what failed before it."""
    page = page_of(client, f"/runs/latest/tests/{PROXY.test.replace('install', 'check')}")
    assert "install failed" in text_of(page)
    assert "it never reached a server" in text_of(page)
    cause = page[page.index('class="cause"') :]
    assert f'{PROXY.test}"' in cause
    assert PROXY.headline[0] in cause


def test_an_error_of_the_lab(client: FlaskClient) -> None:
    """Infrastructure is told apart from the app's own failures."""
    page = page_of(client, f"/runs/latest/tests/{LOST.test}")
    assert "badge-infra" in page


def test_tests_and_their_nights(client: FlaskClient) -> None:
    """What is wrong comes first, and a test's page has its strip, figures and failures."""
    page = page_of(client, "/tests")
    assert page.index("proxy-502") < page.index("verdaccio")
    assert "verdaccio" not in page_of(client, "/tests?q=proxy+INSTALL")
    assert "No test has" in page_of(client, "/tests?q=<script>")
    one = page_of(client, f"/tests/{CRASH.test}")
    assert one.count('class="cell st-failed') == 2
    assert one.count("another cause") == 2, "in the strip and in the list"
    assert "0 of 2" in text_of(one)
    assert '<svg class="spark"' in one


def test_odd_ids(new_lab: Callable[[], Lab]) -> None:
    """Ids with slashes, colons, brackets, percent signs and spaces are found by the links that pages make."""
    odd = ["p/test_x.py::T::test_y[a/b::c]", "p/test_x.py::test[50% <b>]", "docs/start.md::step 1/2"]
    lab = new_lab()
    lab.play("20261121-0231-aaaa", [Outcome(test=test, sections={"app": b"hello\n"}) for test in odd])
    client = logged_in(lab)
    links = re.findall(r'class="stretch" href="([^"]+/tests/[^"]+)"', page_of(client, "/runs/latest"))
    assert len(links) == 3
    for link in links:
        page = page_of(client, link.replace("&#39;", "'"))
        download = re.search(r'href="([^"]+\.txt)"', page)
        assert download is not None
        assert client.get(download[1].replace("&#39;", "'"), headers=HOST).data == b"hello\n"
        nights = re.search(r'href="(/tests/[^"]+)"', page)
        assert nights is not None
        assert "Its first run" in page_of(client, nights[1].replace("&#39;", "'"))


def test_unknown_names_get_the_nearest(client: FlaskClient) -> None:
    """A mistyped run, test, attempt or section: 404, and links to what may have been meant."""
    assert 'href="/runs/20261121-0231-bbbb"' in page_of(client, "/runs/20261121-0231-bbb", 404)
    near = page_of(client, f"/runs/latest/tests/{PROXY.test[:-1]}", 404)
    assert PROXY.test in near
    assert "its last attempt, 1" in page_of(client, f"/runs/latest/tests/{PROXY.test}/7", 404)
    assert "proxy-probe" in page_of(client, f"/runs/latest/tests/{PROXY.test}/1/proxyprobe", 404)
    assert PROXY.test in page_of(client, f"/tests/{PROXY.test[:-1]}", 404)
    assert "There is no page" in page_of(client, "/nothing", 404)
    for odd in ("/runs/%00", "/?lane=%00", "/runs?lane=%00"):
        assert "There is no page" in page_of(client, odd, 404)


def test_before_the_first_night(empty_lab: Lab) -> None:
    """Empty pages say what to do next."""
    client = logged_in(empty_lab)
    for path in ("/", "/runs", "/tests"):
        assert "make demo" in page_of(client, path)
    assert "There is no run" in page_of(client, "/runs/latest", 404)


def test_what_did_not_change_is_not_sent_again(client: FlaskClient) -> None:
    """A page that polls gets 204, and stays as its reader left it."""
    for path in ("/", "/runs"):
        poll = re.search(r'hx-get="([^"]+seen=[^"]+)"', page_of(client, path))
        assert poll is not None
        assert client.get(poll[1].replace("&amp;", "&"), headers=HOST).status_code == 204


def test_a_store_that_is_away(lab: Lab) -> None:
    """Without its store the server says so, tries again, and stays up."""
    import dataclasses

    client = logged_in(dataclasses.replace(lab))
    away = make_engine("postgresql://nobody@127.0.0.1:1/none")
    reading.attach(client.application.extensions, away)
    answer = client.get("/", headers=HOST)
    assert answer.status_code == 503
    assert "The store is away" in answer.get_data(as_text=True)
    assert answer.headers["Refresh"] == "10"
    assert client.get("/healthz", headers=HOST).status_code == 503


def test_a_long_run_comes_piece_by_piece(new_lab: Callable[[], Lab]) -> None:
    """Of 450 tests the worst 200 are sent, the others when a reader gets there, each just once; or all at once."""
    lab = new_lab()
    lab.play("20261121-0231-long", [Outcome(test=f"apps/a{n:03}/testlab.toml::install") for n in range(449)] + [CRASH])
    client = logged_in(lab)
    page, rows, pieces = page_of(client, "/runs/20261121-0231-long"), [], 0
    while True:
        rows += re.findall(r'<tr id="(r-\w+)"', page)
        pieces += 1
        more = re.search(r'hx-get="(/runs/[^"]*/rows[^"]*)"', page)
        if more is None:
            break
        page = page_of(client, unescape(more[1]))
    assert (len(rows), len(set(rows)), pieces) == (450, 450, 3)
    assert page_of(client, "/runs/20261121-0231-long?all=1").count('<tr id="r-') == 450
    assert "app-crash" in page_of(client, "/runs/20261121-0231-long").partition("</tr>\n<tr")[0]
    names, page = [], page_of(client, "/tests")
    while True:
        names += re.findall(
            r'<li class="test-row">\s*<span class="test-name">.*?href="(/tests/[^"]*)"', page, re.DOTALL
        )
        more = re.search(r'<li class="more" hx-get="([^"]*)"', page)
        if more is None:
            break
        page = page_of(client, unescape(more[1]))
    assert len(names) == len(set(names)) == 450
    first_night = page_of(client, "/")
    assert part_of(first_night, "new").count("<li") == 200
    assert "249 more tests on the run's page" in first_night


def test_pills_and_tabs_keep_their_places(client: FlaskClient) -> None:
    """Lanes stand by name, whichever ran last; of a bundle's tabs those of absent sections come last."""
    page = page_of(client, f"/runs/latest/tests/{CRASH.test}")
    bundle = page[page.index('<nav class="tabs"') :]
    tabs = re.findall(r'class="(absent)?"', bundle[: bundle.index("</nav>")])
    assert "absent" in tabs
    assert tabs == sorted(tabs)
    assert "Times are by the lab" in page_of(client, "/")
