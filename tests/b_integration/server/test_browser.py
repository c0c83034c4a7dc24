"""The dashboard as `testlab serve` serves it, in a real browser; whatever the browser complains of is a failure."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace

import pytest
from nights import CHECK, CRASH, HOSTILE, PROXY, Outcome, app
from pages import Lab, Served, Visit, serving, visiting
from playwright.sync_api import Browser, expect


def test_the_printed_link_opens_once(lab: Lab, browser: Browser) -> None:
    """One click on what `testlab serve` prints, and the morning page is there; a second browser is told why not."""
    with serving(lab) as served, visiting(browser, served.origin, served.link) as visit:
        expect(visit.page.get_by_role("heading", level=1)).to_contain_text("2 tests broke")
        assert visit.page.url == served.origin + "/"
        stranger = browser.new_context().new_page()
        stranger.goto(served.link)
        expect(stranger.locator("main")).to_contain_text("has been used")
        stranger.goto(served.origin + "/runs")
        expect(stranger.get_by_role("heading", level=1)).to_have_text("This dashboard is closed")
        stranger.context.close()


def test_a_fetched_link_is_still_good(lab: Lab, served: Served, browser: Browser) -> None:
    """A program that previews the link spends nothing, and the button of the preview opens the dashboard."""
    link = lab.links(served.origin).make()
    context = browser.new_context()
    assert "Open the dashboard" in context.request.get(link).text()
    page = context.new_page()
    page.set_content(f'<a href="{link}">')
    page.goto(link)
    expect(page.get_by_role("heading", level=1)).to_contain_text("2 tests broke")
    context.close()


def test_the_cause_in_two_clicks(visit: Visit) -> None:
    """From the morning page: one click to the headline and the evidence, one more to any other section."""
    visit.page.get_by_role("link", name="proxy-502 install").click()
    expect(visit.page.locator(".headline code").first).to_have_text(PROXY.headline[0])
    expect(visit.page.locator(".verdict .badge")).to_have_text("proxy-502")
    expect(visit.page.locator(".ln.hit").first).to_contain_text("127.0.0.1:8000")
    visit.page.get_by_role("link", name="nginx-error").click()
    expect(visit.page.locator(".log")).to_contain_text("Connection refused")
    at_its_end = "log => log.scrollTop > 0 && log.scrollTop + log.clientHeight > log.scrollHeight - 2"
    assert visit.page.locator(".log").evaluate(at_its_end), "a log without a quoted line opens at its end"
    assert visit.page.url.endswith("/1/nginx-error")
    visit.page.go_back()
    expect(visit.page.locator(".log")).to_contain_text("inside 127.0.0.1:8000")


def test_every_failure_shows_its_cause_after_one_click(visit: Visit) -> None:
    """Each card of the morning page leads to a page that says in its headline what the card began to say."""
    cards = visit.page.locator(".card")
    assert cards.count() == 6
    for number in range(cards.count()):
        said = cards.nth(number).locator(".headline code").first.inner_text()
        cards.nth(number).click()
        expect(visit.page.locator(".attempt .headline code").first).to_have_text(said)
        expect(visit.page.locator("#bundle .log")).not_to_be_empty()
        visit.page.go_back()


def test_a_keyboard_is_enough(visit: Visit) -> None:
    """The first failure is reached by Tab, with a focus that can be seen, and opened by Enter."""
    for _ in range(20):
        visit.page.keyboard.press("Tab")
        if "proxy-502" in str(visit.page.evaluate("document.activeElement.textContent")):
            break
    outline = visit.page.evaluate("getComputedStyle(document.activeElement, '::after').outlineStyle")
    assert outline == "solid"
    visit.page.keyboard.press("Enter")
    expect(visit.page.get_by_role("heading", level=1)).to_contain_text("proxy-502")


def test_hostile_logs_do_nothing(visit: Visit) -> None:
    """Scripts, images with handlers and htmx attributes in a log are shown and not obeyed."""
    visit.go(f"/runs/latest/tests/{CHECK.test}/1/app")
    expect(visit.page.locator(".log")).to_contain_text("<script>window.hacked = 1</script>")
    assert visit.page.locator(".log").locator("script, img, [hx-get]").count() == 0
    time.sleep(0.3)
    assert visit.page.evaluate("window.hacked") is None
    assert visit.page.locator(".fg-red").evaluate("node => getComputedStyle(node).color") == "rgb(179, 38, 30)"
    assert visit.page.evaluate("document.documentElement.scrollWidth <= innerWidth"), "long lines wrap"
    visit.go("/")
    expect(visit.page.get_by_role("heading", level=1)).to_contain_text("2 tests broke")


@pytest.mark.parametrize("shape", ["one line", "many lines"])
def test_a_megabyte_of_hostile_text_leaves_the_page_usable(
    new_lab: Callable[[], Lab], browser: Browser, shape: str
) -> None:
    """Links to scripts, colours without end, characters that reorder: nothing runs, the next section opens."""
    piece = (
        b"\x1b]8;;javascript:window.pwned=1\x1b\\click\x1b]8;;\x07<svg onload=window.pwned=2><a href='javascript:"
        b"window.pwned=3'>x</a>"
        b"\x1b[1;3;4;31;44mX\x00\x9b\xe2\x80\xae\x1b]1337;File=inline=1:AAAA\x07<iframe srcdoc='x'>"
    )
    ending = b"\n" if shape == "many lines" else b""
    hostile = (piece + ending) * (1024 * 1024 // len(piece))
    lab = new_lab()
    outcome = replace(CHECK, headline=(piece.decode(errors="replace"),), sections={"app": hostile, "http": b"plain\n"})
    lab.play("20261121-0231-bbbb", [outcome])
    with serving(lab) as served, visiting(browser, served.origin, served.link) as visit:
        for path in ("/", "/runs/latest", "/tests", f"/tests/{CHECK.test}", f"/runs/latest/tests/{CHECK.test}/1/app"):
            visit.go(path)
            assert visit.page.locator("main").locator("iframe, svg[onload], a[href^='javascript']").count() == 0
            assert visit.page.evaluate("window.pwned") is None
        expect(visit.page.locator(".log")).to_contain_text("<svg onload=window.pwned=2>")
        assert len(visit.page.content()) < 8 * 1024 * 1024
        visit.page.get_by_role("link", name="http 6 B").click()
        expect(visit.page.locator(".log")).to_have_text("plain")
        assert visit.page.evaluate("window.pwned") is None


def test_the_whole_text_is_a_download(visit: Visit) -> None:
    """A log that is a web page is saved, never opened."""
    visit.go(f"/runs/latest/tests/{CHECK.test}/1/app")
    with visit.page.expect_download() as download:
        visit.page.get_by_role("link", name="whole text").click()
    assert download.value.suggested_filename.endswith("-app.txt")
    assert download.value.path().read_bytes() == HOSTILE


def test_the_policy_stops_an_inline_script(browser: Browser, served: Served, lab: Lab) -> None:
    """Were markup ever to slip through, the browser would still not run it, and would say so."""
    with visiting(browser, served.origin, lab.links(served.origin).make()) as visit:
        slip = '<img src=x onerror="window.hacked=1">'
        visit.page.evaluate("slip => document.querySelector('main').insertAdjacentHTML('beforeend', slip)", slip)
        time.sleep(0.3)
        assert visit.page.evaluate("window.hacked") is None
        assert any("Content Security Policy" in complaint for complaint in visit.complaints)
        visit.complaints.clear()


def test_a_run_fills_while_it_goes_on(new_lab: Callable[[], Lab], browser: Browser) -> None:
    """Results and targets appear without a reload, what the reader unfolded stays, and the end is shown."""
    lab = new_lab()
    outcomes = [CRASH, Outcome(test=app("wiki") + "::install"), Outcome(test=app("site") + "::install")]
    with serving(lab) as served, visiting(browser, served.origin, served.link) as visit:
        expect(visit.page.get_by_role("heading", level=1)).to_have_text("No run yet")
        with lab.running("20261121-1000-live", outcomes) as night:
            expect(visit.page.locator("#morning .sub")).to_contain_text("first run")
            visit.go("/runs/20261121-1000-live")
            night.start(outcomes[0])
            expect(visit.page.locator(".target").first).to_contain_text("app-crash")
            expect(visit.page.locator(".results .st-running").first).to_be_visible()
            visit.page.evaluate("window.sameDocument = true")
            night.finish(outcomes[0])
            expect(visit.page.locator("#progress")).to_contain_text("1 of 3 tests")
            expect(visit.page.locator(".results tbody tr").first).to_contain_text("app-crash")
            expect(visit.page.locator(".results .badge")).to_have_text("app-crash")
            assert visit.page.title().startswith("1/3")
        expect(visit.page.locator("#progress .state")).to_have_text("interrupted")
        expect(visit.page.locator("[hx-trigger]")).to_have_count(0)
        assert visit.page.evaluate("window.sameDocument")


def test_a_long_table_grows_as_it_is_read(new_lab: Callable[[], Lab], browser: Browser) -> None:
    """200 rows come at first, the others when a reader gets there; one that fails meanwhile is put among the first."""
    lab = new_lab()
    outcomes = [Outcome(test=f"apps/a{number:03}/testlab.toml::install") for number in range(250)]
    fails = replace(CRASH, test="apps/z-last/testlab.toml::install")
    with (
        serving(lab) as served,
        visiting(browser, served.origin, served.link) as visit,
        lab.running("20261121-1000-long", [*outcomes, fails]) as night,
    ):
        expect(visit.page.locator("#morning .sub")).to_contain_text("first run", timeout=90_000)
        visit.go("/runs/20261121-1000-long")
        rows = visit.page.locator("table.results tbody tr[id]")
        expect(rows).to_have_count(200, timeout=90_000)
        night.start(fails)
        night.finish(fails)
        expect(rows.first).to_contain_text("z-last", timeout=90_000)
        expect(rows).to_have_count(201, timeout=90_000)
        visit.page.locator("tr.more").scroll_into_view_if_needed()
        expect(rows).to_have_count(251, timeout=90_000)
        expect(visit.page.locator("tr.more")).to_have_count(0, timeout=90_000)


def test_the_morning_page_renews_itself(new_lab: Callable[[], Lab], browser: Browser) -> None:
    """A page that is left open shows the next night, and is left alone until then."""
    lab = new_lab()
    lab.play("20261120-0231-aaaa", [PROXY, Outcome(test=app("wiki") + "::install")], days_ago=1)
    with serving(lab) as served, visiting(browser, served.origin, served.link) as visit:
        expect(visit.page.get_by_role("heading", level=1)).to_contain_text("failing on the first night")
        poll = "fetch(document.querySelector('#morning').getAttribute('hx-get')).then(answer => answer.status)"
        assert visit.page.evaluate(poll) == 204
        lab.play("20261121-0231-bbbb", [Outcome(test=PROXY.test), Outcome(test=app("wiki") + "::install")])
        hurry = "node => { node.setAttribute('hx-trigger', 'every 1s'); htmx.process(node) }"
        visit.page.locator("#morning").evaluate(hurry)
        expect(visit.page.get_by_role("heading", level=1)).to_contain_text("1 mended")


def test_a_server_that_is_gone(lab: Lab, browser: Browser) -> None:
    """A page that was left open says that it is old, and leaves what it shows in place."""
    with serving(lab) as served, visiting(browser, served.origin, served.link) as visit:
        visit.go("/runs")
        served.process.terminate()
        expect(visit.page.locator(".offline")).to_be_visible(timeout=15_000)
        expect(visit.page.locator(".run-row")).to_have_count(2)
        visit.complaints.clear()  # the browser says that it can't connect, which is so


def test_finding_a_test_by_typing(visit: Visit) -> None:
    """The list of tests narrows while one types, in place."""
    visit.go("/tests")
    before = visit.page.locator(".test-name").count()
    visit.page.get_by_role("searchbox").press_sequentially("radicale")
    expect(visit.page.locator(".test-name")).to_have_count(2)
    assert before > 2
    visit.page.get_by_role("link", name="radicale check").click()
    expect(visit.page.locator(".strip .cell")).to_have_count(2)


def test_no_page_is_wider_than_a_phone(visit: Visit) -> None:
    """On 360 pixels nothing is cut off or scrolls sideways."""
    visit.page.set_viewport_size({"width": 360, "height": 740})
    log = f"/runs/latest/tests/{CHECK.test}/1/app"
    for path in ("/", "/runs", "/runs/latest", log, "/tests", f"/tests/{PROXY.test}"):
        visit.go(path)
        assert visit.page.evaluate("document.documentElement.scrollWidth") <= 360, path
