"""The addon postgresql: a database and a role of the app's own, in a cluster that the target runs."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from urllib.parse import unquote, urlsplit

from pytest_testlab.errors import DeployFailed, RequirementMissing
from pytest_testlab.model import Application, Deployment
from pytest_testlab.platform.scripting import FAILED, LACKING, compose, execute, reason
from pytest_testlab.protocols import Observer, Target

NAME = "postgresql"
TIMEOUT_S = 60.0
"""For initdb, the start and the database; it takes 1.5 s at first and 0.1 s then."""


@dataclass(frozen=True, kw_only=True)
class Account:
    """What an app is given: a database, a role of the same name, a password."""

    database: str
    password: str
    port: int

    @property
    def url(self) -> str:
        """The DATABASE_URL of the app."""
        return f"postgresql://{self.database}:{self.password}@127.0.0.1:{self.port}/{self.database}"


def new_account(app: Application, port: int) -> Account:
    """An account with a fresh password; its name fits PostgreSQL's 63 bytes."""
    return Account(database=database_of(app.name, app.nonce), password=secrets.token_hex(16), port=port)


def database_of(name: str, nonce: str) -> str:
    """What the database of a deploy is called."""
    return f"{name.replace('-', '_')}_{nonce}"


def create(target: Target, variables: dict[str, str], account: Account, observe: Observer) -> None:
    """Make the account, and the cluster where there is none yet.

    Raises `RequirementMissing` where PostgreSQL isn't installed, `DeployFailed` when it can't be had otherwise.
    """
    admin_password = secrets.token_hex(16)
    observe.conceal(admin_password, account.password)
    values = variables | {
        "admin_password": admin_password,
        "addon_port": str(account.port),
        "database": account.database,
        "password": account.password,
    }
    script = compose(values, "lib", "postgresql", "addon_up")
    result = execute(target, script, timeout_s=TIMEOUT_S, doing="the addon postgresql")
    if result.exit_code == LACKING:
        raise RequirementMissing(reason(result))
    if result.exit_code == FAILED:
        raise DeployFailed("addon postgresql", reason(result))


def probe_variables(deployment: Deployment) -> dict[str, str]:
    """The address at which the app is told to find its database, for the probe; host empty where it has none."""
    names = ("addon_host", "addon_port", "addon_user", "addon_password", "addon_database")
    url = deployment.addons.get(NAME)
    if url is None:
        return dict.fromkeys(names, "")
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port or 5432
    except ValueError:
        return dict.fromkeys(names, "") | {"addon_host": "(not a URL)", "addon_port": "0"}
    # of another kind of database only the address can be tried
    login = parts.scheme.split("+")[0] in ("postgres", "postgresql")
    user, password = (unquote(part or "") if login else "" for part in (parts.username, parts.password))
    return dict(
        zip(names, (host or "(no host)", str(port), user, password, unquote(parts.path.lstrip("/"))), strict=True)
    )
