"""Login links open one server once; the secret behind them is the server's own."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest
from itsdangerous import URLSafeTimedSerializer
from pytest_mock import MockerFixture
from testlab_server.auth import LoginLinks, Refused, Sessions, server_secret

from pytest_testlab.errors import UsageError

ORIGIN = "http://127.0.0.1:8410"
SECRET = b"k" * 32


def links(folder: Path, origin: str = ORIGIN, secret: bytes = SECRET) -> LoginLinks:
    return LoginLinks(secret, folder, origin)


def token_of(link: str) -> str:
    assert link.startswith(f"{ORIGIN}/login/")
    return link.rpartition("/")[2]


def test_a_link_opens_once(tmp_path: Path) -> None:
    """The second use is refused with the reason."""
    made = links(tmp_path)
    token = token_of(made.make())
    made.spend(token)
    with pytest.raises(Refused, match="has been used"):
        made.spend(token)


def test_a_restart_revives_no_link(tmp_path: Path) -> None:
    """What was used stays used for a server that starts anew."""
    token = token_of(links(tmp_path).make())
    links(tmp_path).spend(token)
    with pytest.raises(Refused, match="has been used"):
        links(tmp_path).spend(token)


def test_looking_spends_nothing(tmp_path: Path) -> None:
    """A preview of a link leaves it good."""
    made = links(tmp_path)
    token = token_of(made.make())
    assert made.check(token) == made.check(token)
    made.spend(token)


def test_a_link_expires(tmp_path: Path, mocker: MockerFixture) -> None:
    """After ten minutes a link is refused, and says why."""
    token = token_of(links(tmp_path).make())
    mocker.patch("itsdangerous.timed.time.time", return_value=time.time() + 601)
    with pytest.raises(Refused, match="expired"):
        links(tmp_path).spend(token)


def test_a_link_is_for_one_server(tmp_path: Path) -> None:
    """Another server with the same secret refuses it."""
    token = token_of(links(tmp_path).make())
    with pytest.raises(Refused, match="another server"):
        links(tmp_path, origin="http://127.0.0.1:8411").spend(token)


@pytest.mark.parametrize(
    "spoil", [lambda token: token[:-1], lambda token: "x" + token, lambda token: "", lambda _: "a.b.c"]
)
def test_a_spoiled_link_is_refused(tmp_path: Path, spoil) -> None:  # type: ignore[no-untyped-def]
    """A link that was cut off or made up opens nothing."""
    with pytest.raises(Refused, match="not made by this server"):
        links(tmp_path).spend(spoil(token_of(links(tmp_path).make())))


@pytest.mark.parametrize("said", [{"id": "../../etc/passwd", "for": ORIGIN}, {"for": ORIGIN}, ["x"], "x"])
def test_what_is_signed_is_checked_too(tmp_path: Path, said: object) -> None:
    """Even what is signed becomes a file's name only in the form that was made here."""
    token = URLSafeTimedSerializer(SECRET, salt="testlab-login-link").dumps(said)
    with pytest.raises(Refused):
        links(tmp_path).spend(token)
    assert not list(tmp_path.iterdir())


def test_spent_ids_are_forgotten_only_after_they_expired(tmp_path: Path) -> None:
    """The folder doesn't grow for ever, and forgets nothing that could still open."""
    made = links(tmp_path)
    first, second, third = (token_of(made.make()) for _ in range(3))
    made.spend(first)
    old = time.time() - 1300
    os.utime(tmp_path / made_id(tmp_path), (old, old))
    made.spend(second)
    assert len(list(tmp_path.iterdir())) == 1
    made.spend(third)
    assert len(list(tmp_path.iterdir())) == 2


def made_id(folder: Path) -> str:
    return next(folder.iterdir()).name


def test_the_secret_is_made_once_and_private(tmp_path: Path) -> None:
    """The same secret at each start, for its owner's eyes only."""
    folder = tmp_path / "server"
    secret = server_secret(folder)
    assert len(secret) == 32
    assert server_secret(folder) == secret
    assert (folder / "secret").stat().st_mode & 0o777 == 0o600
    assert folder.stat().st_mode & 0o777 == 0o700
    assert [path.name for path in folder.iterdir()] == ["secret"]


def test_a_secret_that_others_can_read_is_refused(tmp_path: Path) -> None:
    """A server doesn't start on a secret that may be known."""
    server_secret(tmp_path)
    (tmp_path / "secret").chmod(0o644)
    with pytest.raises(UsageError, match="chmod 600"):
        server_secret(tmp_path)


def test_a_damaged_secret_is_named(tmp_path: Path) -> None:
    """Half a secret is no secret."""
    (tmp_path / "secret").write_bytes(b"short")
    (tmp_path / "secret").chmod(0o600)
    with pytest.raises(UsageError, match="damaged"):
        server_secret(tmp_path)


def test_a_secret_that_someone_else_laid_down_is_refused(tmp_path: Path) -> None:
    """A link or a pipe in the secret's place is refused at once: whoever put it there would know the secret."""
    (tmp_path / "theirs").write_bytes(b"x" * 32)
    (tmp_path / "theirs").chmod(0o600)
    (tmp_path / "secret").symlink_to("theirs")
    with pytest.raises(UsageError, match="can't be read: Too many levels of symbolic links"):
        server_secret(tmp_path)
    (tmp_path / "secret").unlink()
    os.mkfifo(tmp_path / "secret", 0o600)
    with pytest.raises(UsageError, match="is not a file of yours"):
        server_secret(tmp_path)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
def test_another_accounts_secret_is_refused(tmp_path: Path) -> None:
    """Even root, who could read it, doesn't sign with what another account made."""
    server_secret(tmp_path)
    os.chown(tmp_path / "secret", 65534, 65534)
    with pytest.raises(UsageError, match="is not a file of yours"):
        server_secret(tmp_path)


@pytest.mark.parametrize("umask", [0, 0o027])
def test_what_the_server_keeps_is_private_whatever_the_umask(tmp_path: Path, umask: int) -> None:
    """Secret, spent links and sessions: folders for their owner alone, files too."""
    (tmp_path / "server").mkdir(mode=0o700)
    before = os.umask(umask)
    try:
        folder = tmp_path / "server"
        made = links(folder / "spent", secret=server_secret(folder))
        made.spend(token_of(made.make()))
        Sessions(folder / "sessions", 60).begin()
    finally:
        os.umask(before)
    found = list(folder.rglob("*"))
    assert len(found) == 5
    for path in found:
        assert path.stat().st_mode & 0o777 == (0o700 if path.is_dir() else 0o600), path


def test_a_session_ends(tmp_path: Path) -> None:
    """By logging out, by its age, and by deleting its file; its id is nowhere on the disk."""
    sessions = Sessions(tmp_path / "sessions", 60)
    first, second, third = sessions.begin(), sessions.begin(), sessions.begin()
    assert all(map(sessions.is_open, (first, second, third)))
    sessions.end(first)
    sessions.end(first)
    assert [sessions.is_open(one) for one in (first, second, third)] == [False, True, True]
    assert not any(one in path.name for one in (first, second, third) for path in (tmp_path / "sessions").iterdir())
    for path in (tmp_path / "sessions").iterdir():
        os.utime(path, (time.time() - 61, time.time() - 61))
    assert not sessions.is_open(second)
    fourth = sessions.begin()
    assert len(list((tmp_path / "sessions").iterdir())) == 1, "what has expired is forgotten"
    next((tmp_path / "sessions").iterdir()).unlink()
    assert not sessions.is_open(fourth)


@pytest.mark.parametrize("identity", [None, 7, [], "", "../secret", "\ud800", "x" * 100_000])
def test_what_is_no_session_opens_nothing(tmp_path: Path, identity: object) -> None:
    """Whatever a cookie says, it is only ever compared."""
    sessions = Sessions(tmp_path, 60)
    assert not sessions.is_open(identity)
    sessions.end(identity)
