"""How values get into the platform's shell scripts."""

from __future__ import annotations

import subprocess

from hypothesis import given, settings
from hypothesis import strategies as st

from pytest_testlab.model import Application, Deployment, Entry, FrontDoor, Suite
from pytest_testlab.platform.postgresql import new_account, probe_variables
from pytest_testlab.platform.scripting import compose

TEXT = st.text(st.characters(exclude_characters="\0", exclude_categories=("Cs",)), max_size=60)


@settings(max_examples=30, deadline=None)
@given(TEXT)
def test_any_value_arrives_as_it_is(value):
    """Whatever a value holds (quotes, line ends, `$(…)`), the script has just that, and no child sees it."""
    script = compose({"value": value}) + '\nprintf "%s" "$tl_value"; env | grep -c ^tl_ >&2; true'
    result = subprocess.run(["sh"], input=script.encode(), capture_output=True, check=True)
    assert result.stdout.decode() == value
    assert result.stderr.strip() == b"0"


def _deployment(tmp_path, url):
    entry = Entry(name="a", suite=Suite.APPS, file=tmp_path / "testlab.toml")
    app = Application(entry=entry, nonce="0" * 12)
    door = FrontDoor(host="127.0.0.1", port=1)
    return Deployment(app=app, front_door=door, folder="/x", port=None, addons={"postgresql": url} if url else {})


def test_the_address_of_an_addon(tmp_path):
    """The probe logs in as the app is told to; at another kind of database only the address is tried."""
    names = ("addon_host", "addon_port", "addon_user", "addon_password", "addon_database")

    def read(url):
        return tuple(probe_variables(_deployment(tmp_path, url))[name] for name in names)

    assert read("postgresql+psycopg://u%40x:p%2Fw@db:5433/name") == ("db", "5433", "u@x", "p/w", "name")
    assert read("postgres://db") == ("db", "5432", "", "", "")
    assert read("mysql://u:p@db:3306/name") == ("db", "3306", "", "", "name")
    assert read("not a url")[0] == "(no host)"
    assert read("postgresql://db:port/x")[0] == "(not a URL)"
    assert read(None) == ("",) * 5


def test_an_account_of_its_own(tmp_path):
    """Each deploy gets another password, and names that fit PostgreSQL's 63 bytes."""
    entry = Entry(name="a-" * 19 + "zz", suite=Suite.APPS, file=tmp_path / "testlab.toml")
    app = Application(entry=entry, nonce="0" * 12)
    first, second = new_account(app, 5432), new_account(app, 5432)
    assert first.password != second.password
    assert len(first.database) <= 63
    assert first.url == f"postgresql://{first.database}:{first.password}@127.0.0.1:5432/{first.database}"
