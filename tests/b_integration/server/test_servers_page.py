"""`/servers`: what the store knows of servers that are alive."""

from __future__ import annotations

from nights import passes
from pages import Lab, logged_in

from pytest_testlab.store.embedded import StoreHandle


def test_who_has_which_server(store: StoreHandle) -> None:
    """Kept ones first, with the failed test and the way there, then those without a word, then those in use."""
    lab = Lab(store)
    assert "No server is alive" in logged_in(lab).get("/servers", headers={"Host": "127.0.0.1:8410"}).text
    lab.play("20261121-0231-k3f9", passes())
    lab.lease_some("20261121-0231-k3f9")
    text = logged_in(lab).get("/servers", headers={"Host": "127.0.0.1:8410"}).text
    assert text.index(">kept<") < text.index(">no word of it<") < text.index(">in use<")
    assert "ssh -p 22 root@192.0.2.1" in text
    assert "0.031 € so far" in text
    assert "testlab servers release NAME" in text
    assert 'href="/runs/20261121-0231-k3f9"' in text
