"""Closed unless opened: by no route, no name, no form of another site; open by a link, once."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
from flask.testing import FlaskClient
from pages import NAVIGATION, Lab, logged_in, path_of
from testlab_server.auth import OPEN_ENDPOINTS
from testlab_server.security import CONTENT_SECURITY_POLICY

HOST = {"Host": "127.0.0.1:8410"}


def test_every_route_is_closed(lab: Lab) -> None:
    """Each rule of the server, with each of its methods, refuses a stranger, unless it is named as open."""
    client = lab.client()
    values = {"run": "latest", "test": "a.py::b", "attempt": 1, "section": "app", "filename": "x", "token": "x"}
    adapter = client.application.url_map.bind("127.0.0.1:8410")
    closed = set()
    for rule in client.application.url_map.iter_rules():
        for method in rule.methods or ():
            if rule.endpoint in OPEN_ENDPOINTS or method == "OPTIONS":
                continue
            address = adapter.build(rule.endpoint, {name: values[name] for name in rule.arguments}, method=method)
            answer = client.open(address, method=method, headers=HOST)
            assert answer.status_code == 403, (method, address)
            assert b"20261121" not in answer.data
            closed.add(rule.endpoint)
    assert {"morning.show", "runs.index", "runs.live", "attempts.show", "attempts.download", "tests.show"} <= closed


@pytest.mark.parametrize("path", ["/nothing", "/runs/x/tests/nothing", "/login/", "/static", "//", "/runs/%00"])
def test_what_is_not_there_is_closed_too(lab: Lab, path: str) -> None:
    """A stranger can't tell what exists."""
    assert lab.client().get(path, headers=HOST).status_code == 403


def test_the_open_ones_say_nothing(lab: Lab) -> None:
    """Health and static files are for everyone, and tell nothing of the lab."""
    client = lab.client()
    assert client.get("/healthz", headers=HOST).json == {"ok": True, "store": True}
    with client.get("/static/testlab.css", headers=HOST) as style:
        assert style.status_code == 200
    assert client.get("/static/../app.py", headers=HOST).status_code in (403, 404)


def test_a_link_opens_for_a_person_at_once(lab: Lab) -> None:
    """One click: the link leads to the morning page, with a cookie that scripts and other sites don't get."""
    client = lab.client()
    link = path_of(lab.links().make())
    answer = client.get(link, headers={**NAVIGATION, **HOST})
    assert (answer.status_code, answer.location) == (303, "/")
    cookie = answer.headers["Set-Cookie"]
    assert cookie.startswith("testlab_8410=")
    assert {"HttpOnly", "SameSite=Lax", "Path=/"} <= {part.strip() for part in cookie.split(";")}
    assert client.get("/", headers=HOST).status_code == 200
    again = lab.client().get(link, headers={**NAVIGATION, **HOST})
    assert again.status_code == 403
    assert b"has been used" in again.data


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Sec-Fetch-Mode": "no-cors", "Sec-Fetch-Dest": "empty"},
        {**NAVIGATION, "Sec-Purpose": "prefetch;prerender"},
        {**NAVIGATION, "Purpose": "prefetch"},
    ],
)
def test_a_preview_does_not_spend_a_link(lab: Lab, headers: dict[str, str]) -> None:
    """What isn't a person's click gets a page with a button; the link is still good, for the button too."""
    client = lab.client()
    link = path_of(lab.links().make())
    preview = client.get(link, headers={**headers, **HOST})
    assert preview.status_code == 200
    assert b"Open the dashboard" in preview.data
    assert client.head(link, headers={**NAVIGATION, **HOST}).status_code == 200
    assert "Set-Cookie" not in preview.headers
    assert client.post(link, headers=HOST).status_code == 303
    assert client.get("/", headers=HOST).status_code == 200


def test_a_restart_neither_revives_links_nor_ends_sessions(lab: Lab) -> None:
    """A server that starts anew refuses used links, and knows who was let in."""
    link = path_of(lab.links().make())
    client = lab.client()
    client.get(link, headers={**NAVIGATION, **HOST})
    restarted = lab.client()
    assert restarted.get(link, headers={**NAVIGATION, **HOST}).status_code == 403
    cookie = client.get_cookie("testlab_8410", domain="127.0.0.1")
    assert cookie is not None
    restarted.set_cookie("testlab_8410", cookie.value, domain="127.0.0.1")
    assert restarted.get("/", headers=HOST).status_code == 200


def test_another_labs_cookie_opens_nothing(lab: Lab, new_lab: Callable[[], Lab]) -> None:
    """Sessions are signed by this server's own secret."""
    cookie = logged_in(new_lab()).get_cookie("testlab_8410", domain="127.0.0.1")
    assert cookie is not None
    client = lab.client()
    client.set_cookie("testlab_8410", cookie.value, domain="127.0.0.1")
    assert client.get("/", headers=HOST).status_code == 403


@pytest.mark.parametrize(
    "host",
    [
        *("evil.example", "127.0.0.1.evil.example", "evil.example:8410", "", "[::1", "a b", "x@127.0.0.1:8410"),
        *("127.0.0.1/evil", "127.0.0.1?evil", "127.0.0.1#evil", "127.0.0.1:8410:1", "127.0.0.1,evil.example"),
    ],
)
def test_foreign_names_are_refused(client: FlaskClient, host: str) -> None:
    """DNS rebinding: a name that somebody else owns gets nothing, whatever it points to, with a session or without."""
    for path in ("/", "/healthz", "/static/testlab.css"):
        answer = client.get(path, headers={"Host": host})
        assert answer.status_code == 400
        assert b"20261121" not in answer.data


@pytest.mark.parametrize("host", ["localhost", "localhost:9999", "127.0.0.1", "[::1]:8410", "LOCALHOST:8410"])
def test_own_names_are_answered(lab: Lab, host: str) -> None:
    """Loopback has three names, and a tunnel gives it other ports."""
    assert lab.client().get("/healthz", headers={"Host": host}).status_code == 200


@pytest.mark.parametrize(
    "headers", [{"Sec-Fetch-Site": "cross-site"}, {"Origin": "http://evil.example"}, {"Origin": "null"}]
)
def test_forms_of_other_sites_do_nothing(lab: Lab, headers: dict[str, str]) -> None:
    """Another site can't log anybody out, or in."""
    client = logged_in(lab)
    assert client.post("/logout", headers={**headers, **HOST}).status_code == 403
    assert client.post(path_of(lab.links().make()), headers={**headers, **HOST}).status_code == 403
    assert client.get("/", headers=HOST).status_code == 200


def test_every_write_is_closed_to_other_sites(lab: Lab) -> None:
    """Each rule that changes something, asked with a member's cookie by another site or by nobody knows whom: refused.

    That is so for writes that are added later, too: the rules are those of the server as it is.
    """
    client = logged_in(lab)
    values = {"run": "latest", "test": "a.py::b", "attempt": 1, "section": "app", "filename": "x", "token": "x"}
    adapter = client.application.url_map.bind("127.0.0.1:8410")
    own, foreign = "http://127.0.0.1:8410", "http://127.0.0.1:9999"
    forged = ({}, {"Origin": foreign}, {"Origin": own, "Sec-Fetch-Site": "same-site"}, {"Origin": "http://["})
    written = set()
    for rule in client.application.url_map.iter_rules():
        for method in (rule.methods or set()) - {"GET", "HEAD", "OPTIONS"}:
            address = adapter.build(rule.endpoint, {name: values[name] for name in rule.arguments}, method=method)
            for headers in forged:
                answer = client.open(address, method=method, headers={**HOST, **headers})
                assert answer.status_code == 403, (method, address, headers)
                assert b"sent by another site" in answer.data
            written.add(rule.endpoint)
    assert {"login.leave", "login.enter_by_button"} <= written
    assert client.get("/", headers=HOST).status_code == 200


def test_of_two_at_once_one_gets_in(lab: Lab) -> None:
    """A link that is used many times at the same moment opens the dashboard exactly once."""
    link = path_of(lab.links().make())
    clients = [lab.client() for _ in range(8)]
    barrier = threading.Barrier(len(clients), timeout=30)

    def use(client: FlaskClient) -> int:
        barrier.wait()
        return client.get(link, headers={**NAVIGATION, **HOST}).status_code

    with ThreadPoolExecutor(len(clients)) as pool:
        assert sorted(pool.map(use, clients)) == [303] + 7 * [403]
    assert sorted(client.get("/", headers=HOST).status_code for client in clients) == [200] + 7 * [403]


def test_each_login_is_a_session_of_its_own(lab: Lab) -> None:
    """A login gives a new session and ends the one that the browser had, which somebody may have slipped in."""
    client = logged_in(lab)
    before = client.get_cookie("testlab_8410", domain="127.0.0.1")
    assert client.get(path_of(lab.links().make()), headers={**NAVIGATION, **HOST}).status_code == 303
    after = client.get_cookie("testlab_8410", domain="127.0.0.1")
    assert before is not None
    assert after is not None
    other = lab.client()
    for cookie, status in ((before, 403), (after, 200)):
        other.set_cookie("testlab_8410", cookie.value, domain="127.0.0.1")
        assert other.get("/", headers=HOST).status_code == status


def test_logging_out(lab: Lab) -> None:
    """After it everything is closed again, to a copy of the cookie too; other sessions go on."""
    client, other, thief = logged_in(lab), logged_in(lab), lab.client()
    cookie = client.get_cookie("testlab_8410", domain="127.0.0.1")
    assert cookie is not None
    thief.set_cookie("testlab_8410", cookie.value, domain="127.0.0.1")
    assert thief.get("/", headers=HOST).status_code == 200
    assert client.post("/logout", headers={**HOST, "Origin": "http://127.0.0.1:8410"}).status_code == 200
    assert client.get("/", headers=HOST).status_code == 403
    assert thief.get("/", headers=HOST).status_code == 403
    assert other.get("/", headers=HOST).status_code == 200


def test_a_login_tells_only_its_own_address(lab: Lab) -> None:
    """What headers say of hosts and proxies gets into no link and no redirect."""
    client = lab.client()
    headers = {**NAVIGATION, **HOST, "X-Forwarded-Host": "evil.example", "X-Forwarded-Prefix": "//evil.example"}
    answer = client.get(path_of(lab.links().make()) + "?next=//evil.example", headers=headers)
    assert (answer.status_code, answer.location) == (303, "/")
    assert lab.links().make().startswith("http://127.0.0.1:8410/login/")


def test_secure_behind_https(lab: Lab) -> None:
    """A server whose address is https keeps its cookie to https."""
    client = lab.client(url="https://lab.example.org")
    link = path_of(lab.links("https://lab.example.org").make())
    answer = client.get(link, headers={**NAVIGATION, "Host": "lab.example.org"}, base_url="https://lab.example.org")
    assert "Secure" in answer.headers["Set-Cookie"]


@pytest.mark.parametrize("path", ["/", "/runs", "/nothing", "/healthz", "/static/testlab.css"])
def test_headers(client: FlaskClient, path: str) -> None:
    """Every answer forbids inline scripts, frames, sniffing; and no page is kept in a cache."""
    with client.get(path, headers=HOST) as answer:
        headers = answer.headers
    assert headers["Content-Security-Policy"] == CONTENT_SECURITY_POLICY
    assert "unsafe" not in CONTENT_SECURITY_POLICY
    assert "frame-ancestors 'none'" in CONTENT_SECURITY_POLICY
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Referrer-Policy"] == "same-origin"
    assert ("no-store" in headers["Cache-Control"]) == (not path.startswith("/static"))


def test_no_page_has_inline_script_or_style(client: FlaskClient) -> None:
    """What the policy would block isn't there to begin with."""
    test = "examples/catalog/broken/proxy-502/testlab.toml::install"
    for path in ("/", "/runs", "/runs/latest", f"/runs/latest/tests/{test}", "/tests", f"/tests/{test}", "/nothing"):
        page = client.get(path, headers=HOST).get_data(as_text=True)
        assert " style=" not in page
        assert "<style" not in page
        assert page.count("<script") == page.count('<script src="/static/') == 2
        assert " onclick=" not in page
        assert "hx-on" not in page
