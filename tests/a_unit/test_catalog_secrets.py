"""From an entry's [env] to the values that its app gets."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from pytest_testlab.catalog.secrets import SecretSource, harvest_environ, require_all, resolve_env
from pytest_testlab.errors import UsageError
from pytest_testlab.model import Entry, EnvValue, Generated, SecretRef, Suite


def entry(name: str = "shop", **env: EnvValue) -> Entry:
    return Entry(name=name, suite=Suite.APPS, file=Path("/catalog/shop/testlab.toml"), env=env)


def test_the_environment_gives_up_its_secrets() -> None:
    """What is harvested is no longer there for a child to inherit."""
    environ = {"TESTLAB_SECRET_A_B": "s", "TESTLAB_HOME": "/x", "PATH": "/bin"}
    assert harvest_environ(environ) == {"TESTLAB_SECRET_A_B": "s"}
    assert environ == {"TESTLAB_HOME": "/x", "PATH": "/bin"}


def test_a_variable_goes_before_a_file(tmp_path: Path) -> None:
    """The name's dashes are underscores in the variable; the file has the name as it is."""
    (tmp_path / "shop-admin").write_text("from the file\n\n")
    environ = {"TESTLAB_SECRET_SHOP_ADMIN": "from the variable"}
    assert SecretSource(environ=environ, folder=tmp_path)("shop-admin") == "from the variable"
    assert SecretSource(folder=tmp_path)("shop-admin") == "from the file\n"


def test_a_missing_secret_names_both_places(tmp_path: Path) -> None:
    """The error says where the value can be put."""
    said = 'the secret "shop-admin" is missing: set TESTLAB_SECRET_SHOP_ADMIN, or put it in the file shop-admin in '
    with pytest.raises(UsageError) as caught:
        SecretSource(folder=tmp_path)("shop-admin")
    assert str(caught.value) == said + str(tmp_path)
    with pytest.raises(UsageError) as caught:
        SecretSource()("shop-admin")
    assert str(caught.value) == said + "a folder named by testlab_secrets_dir (not set)"


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"\n", 'the secret "key" is empty'),
        (b"a\0b", 'the secret "key" holds the character U+0000'),
        (b"\xff", "is not UTF-8 text"),
        (b"x" * 70_000, "is larger than 64 KiB: too large for a secret"),
    ],
)
def test_an_unusable_secret_is_refused(tmp_path: Path, content: bytes, said: str) -> None:
    """A value that can't be masked, or can't be an environment's, is refused."""
    (tmp_path / "key").write_bytes(content)
    with pytest.raises(UsageError, match=re.escape(said)):
        SecretSource(folder=tmp_path)("key")


@pytest.mark.parametrize("name", ["../key", "/etc/passwd", "a/b", "", "A", ".", "a\n"])
def test_a_name_never_leads_out_of_the_folder(tmp_path: Path, name: str) -> None:
    """Only a plain name is looked for."""
    (tmp_path.parent / "key").write_text("x")
    with pytest.raises(UsageError, match="a secret's name"):
        SecretSource(folder=tmp_path)(name)


def test_a_folder_is_no_secret(tmp_path: Path) -> None:
    """What can't be read is not taken for absent."""
    (tmp_path / "key").mkdir()
    with pytest.raises(UsageError, match="key can't be read: Is a directory"):
        SecretSource(folder=tmp_path)("key")


def test_an_environment_is_resolved() -> None:
    """Plain values stay in sight; secrets and generated values are to be masked, and each call generates anew."""
    shop = entry(LEVEL="info", ADMIN=SecretRef(name="admin"), KEY=Generated(length=24))
    env, masked = resolve_env(shop, {"admin": "hunter2"}.__getitem__)
    assert (env["LEVEL"], env["ADMIN"]) == ("info", "hunter2")
    assert masked == {"hunter2", env["KEY"]}
    assert len(env["KEY"]) == 24
    assert env["KEY"].isalnum()
    assert resolve_env(shop, {"admin": "hunter2"}.__getitem__)[0]["KEY"] != env["KEY"]


def test_all_missing_secrets_are_told_at_once() -> None:
    """A run is refused before anything starts, with one line for each secret that is missing."""
    entries = [
        entry("a", X=SecretRef(name="one"), Y=SecretRef(name="two"), Z=Generated(length=8), P="plain"),
        entry("b", X=SecretRef(name="one"), Y=SecretRef(name="three")),
    ]
    source = SecretSource(environ={"TESTLAB_SECRET_TWO": "2222"})
    with pytest.raises(UsageError) as caught:
        require_all(entries, source)
    lines = str(caught.value).splitlines()
    assert [line.split(" is missing")[0] for line in lines] == ['a: X: the secret "one"', 'b: Y: the secret "three"']
    given = {"one": "1111", "two": "2222", "three": "3333"}
    full = SecretSource(environ={f"TESTLAB_SECRET_{name.upper()}": value for name, value in given.items()})
    assert require_all(entries, full) == given


def test_a_secret_too_short_to_be_masked_is_refused() -> None:
    """Three letters stand in every second line: the run is refused before they can be shown anywhere."""
    source = SecretSource(environ={"TESTLAB_SECRET_PIN": "417"})
    with pytest.raises(UsageError, match=r'^the secret "pin" has fewer than 4 characters and can.t be masked in logs'):
        source("pin")


def test_secrets_are_not_shown() -> None:
    """A source that ends in a log or traceback doesn't tell its values."""
    assert "hunter2" not in repr(SecretSource(environ={"TESTLAB_SECRET_A": "hunter2"}))
