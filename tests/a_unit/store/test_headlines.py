"""Fingerprints: equal for the same failure on another night, different for another failure."""

import pytest

from pytest_testlab.store.headlines import digest, fingerprint, mask


@pytest.mark.parametrize(
    ("tonight", "last_night"),
    [
        ("exit code 1 after 3.2 s", "exit code 1 after 41.07 s"),
        ("GET http://radicale-3f9c0a1b2c3d.testlab.internal/x", "GET http://radicale-aaaa0a1b2c3d.testlab.internal/y"),
        ("host radicale-3f9c0a1b2c3d.testlab.internal", "host radicale-77780a1b2cdd.testlab.internal"),
        ("connect to 127.0.0.1:20011 refused", "connect to 10.77.0.4:5432 refused"),
        ("listening on [::1]:8000", "listening on [fe80::1:2]:9000"),
        ("at 0x7f3a2c: segfault", "at 0xdeadbeef: segfault"),
        ("/srv/t0/apps/x/app.py failed", "/srv/t11/apps/y/app.py failed"),
        ("commit 9f3c2d1e", "commit 77aa2d1e"),
    ],
)
def test_what_changes_from_night_to_night_is_masked(tonight: str, last_night: str) -> None:
    """Numbers, hexadecimal words, paths and addresses don't make another failure."""
    assert mask(tonight) == mask(last_night)
    assert fingerprint(tonight) == fingerprint(last_night)
    assert digest(tonight) != digest(last_night)


@pytest.mark.parametrize(
    ("one", "another"),
    [
        ("ModuleNotFoundError: flask", "ModuleNotFoundError: django"),
        ("the app's process ended", "the app answers 5xx"),
        ("decade facade", "facade decade"),
        ("input/output error", "and/or error"),
    ],
)
def test_words_make_another_failure(one: str, another: str) -> None:
    """Masking leaves what tells failures apart."""
    assert fingerprint(one) != fingerprint(another)
