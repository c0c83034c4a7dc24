"""Requests made to break the dashboard: no server error, no trace of the machine, nothing given back unescaped."""

from __future__ import annotations

import time
from urllib.parse import quote

import pytest
from flask.testing import FlaskClient
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from nights import CHECK
from pages import Lab
from werkzeug.test import TestResponse

HOST = {"Host": "127.0.0.1:8410"}
PLACES = (
    "/{}",
    "/runs/{}",
    "/runs/{}/live",
    "/runs/{}/tests/a::b",
    "/runs/latest/tests/{}",
    "/runs/latest/tests/{}::b",
    f"/runs/latest/tests/{CHECK.test}/{{}}",
    f"/runs/latest/tests/{CHECK.test}/1/{{}}",
    f"/runs/latest/tests/{CHECK.test}/1/{{}}.txt",
    "/tests/{}",
    "/tests/{}::b",
    "/static/{}",
    "/login/{}",
    "/?lane={}",
    "/?seen={}",
    "/runs?lane={}",
    "/tests?q={}&lane=x",
    f"/tests/{CHECK.test}?lane={{}}",
)
WORDS = (
    *("%00", "..", "%2e%2e", "..%2f..%2f..%2fetc%2fpasswd", "%5c..%5c", "/", "%2f%2fforged.example"),
    *("//forged.example", "x" * 15_000, "9" * 30, "9" * 5_000, "-1", "0", "1e9", "%D9%A3", "%ff%fe", "%ed%a0%80"),
    *("%25ed%25a0%2580", "%", "%25", "%zz", "%E2%80%AE", "%0d%0aSet-Cookie:a=b", "%1b[2J", "'\"><svg>", "{{7*7}}"),
    *("<img src=x onerror=pwned()>", "${7}", "latest%00", "%F0%9F%98%80" * 500),
)
HEADERS = {
    "Accept": ("*/*;q=x", "x" * 8_000),
    "Authorization": ("Basic %%%", "Bearer x", "x"),
    "Content-Length": ("x", "-1", "9" * 5_000),
    "Content-Type": ("multipart/form-data", "application/json; charset=\xff"),
    "Cookie": ("testlab_8410=" + "x" * 8_000, "testlab_8410=eyJ1c2VyIjoibGluayJ9.aaaa.bbbb", ";=;=,\x01"),
    "HX-Request": ("true",),
    "HX-Current-URL": ("javascript:x",),
    "If-Modified-Since": ("Thu, 99 Foo 9999 00:00:00 GMT",),
    "If-None-Match": ('"', "*", "x" * 8_000),
    "Origin": ("http://[", "null", "javascript:x", "http://x@127.0.0.1:8410", "http://127.0.0.1:8410.forged.example"),
    "Range": ("bytes=-1", "bytes=5-1", "bytes=999999999-", "bytes=0-0,2-3", "bytes=" + "9" * 5_000 + "-"),
    "Sec-Fetch-Site": ("x",),
    "X-Forwarded-Host": ("forged.example",),
    "X-Forwarded-Prefix": ("//forged.example",),
    "X-Forwarded-Proto": ("javascript",),
}
METHODS = ("HEAD", "OPTIONS", "POST", "PUT", "DELETE", "PATCH", "TRACE", "FOO")


def harmless(answer: TestResponse, asked: str) -> None:
    """What holds of every answer, whatever was asked."""
    assert answer.status_code < 500, asked
    if not 200 <= answer.status_code < 300:
        said = answer.get_data(as_text=True)
        for word in ("Traceback", "/site-packages", "testlab_server/", "psycopg", "<img src=x", "<svg>"):
            assert word not in said, asked
    assert "a=b" not in answer.headers.get("Set-Cookie", ""), asked
    if answer.location is not None:
        assert answer.location.startswith(("/", "http://127.0.0.1:8410/")), asked
        assert not answer.location.startswith("//"), asked
    if " /static" not in asked or answer.status_code >= 400:
        assert answer.headers["Cache-Control"] == "no-store", asked
    assert answer.headers["X-Content-Type-Options"] == "nosniff", asked


def ask(client: FlaskClient, path: str, method: str = "GET", **headers: str) -> TestResponse:
    answer = client.open(path, method=method, headers={**HOST, **headers}, buffered=True)
    harmless(answer, f"{method} {path[:100]} {headers!r:.100}")
    return answer


@pytest.mark.parametrize("place", PLACES)
def test_no_name_breaks_a_page(lab: Lab, client: FlaskClient, place: str) -> None:
    """Paths, bytes, numbers and markup where a name belongs: a page or a refusal, for members and strangers."""
    stranger = lab.client()
    for word in WORDS:
        ask(client, place.replace("{}", word))
        if not place.startswith(("/static", "/login")):
            assert ask(stranger, place.replace("{}", word)).status_code == 403


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(place=st.sampled_from(PLACES), name=st.text(max_size=60), query=st.text(max_size=20))
def test_no_made_up_name_breaks_a_page(client: FlaskClient, place: str, name: str, query: str) -> None:
    """Whatever text stands where a name belongs, the answer is a page or a refusal."""
    sign = "&" if "?" in place else "?"
    said = quote(name.encode(errors="surrogatepass"), safe="")
    ask(client, place.replace("{}", said) + f"{sign}{quote(query.encode(errors='surrogatepass'), safe='=&')}")


@pytest.mark.parametrize("header", HEADERS)
def test_no_header_breaks_a_page(client: FlaskClient, header: str) -> None:
    """Headers that are malformed, huge, or speak for a proxy that isn't there change nothing."""
    pages = ("/", "/runs/latest", f"/runs/latest/tests/{CHECK.test}/1/app.txt", "/static/testlab.css", "/nothing")
    for value in HEADERS[header]:
        for page in pages:
            answer = ask(client, page, **{header: value})
            assert b"forged.example" not in answer.data
        ask(client, "/login/x", "POST", **{header: value})


@pytest.mark.parametrize("method", METHODS)
def test_no_method_breaks_a_page(client: FlaskClient, method: str) -> None:
    """Methods that no page has are refused, and log nobody out."""
    for place in PLACES:
        ask(client, place.replace("{}", "x"), method)
    assert ask(client, "/").status_code == 200


@pytest.mark.parametrize("piece", ["a::", "a::[", "a::b]", "a::[]", ":", "::", "[", "a::[]/1/"])
def test_no_address_holds_the_server_up(lab: Lab, piece: str) -> None:
    """An address is read in a time that grows with its length, before anyone is asked who they are.

    Read with more than one way to split an id, the longest that a request may hold would take hours.
    """
    address = piece * (12_000 // len(piece))
    began = time.monotonic()
    for place in ("/tests/{}", "/runs/x/tests/{}", "/runs/x/tests/{}/1/x.txt"):
        assert lab.client().get(place.replace("{}", address), headers=HOST).status_code == 403
    assert time.monotonic() - began < 20
