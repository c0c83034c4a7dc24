"""Every setting of the lab, once: flag, ini key, environment name, default and help come from this list.

A flag wins over the environment, which wins over the ini file. This module is read in every pytest of the environment,
so it imports nothing but the standard library.
"""

from __future__ import annotations

import dataclasses
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from pytest_testlab.errors import UsageError

PRIORITIES = ("P0", "P1", "P2")
SUITES = ("apps", "demos", "tutorials", "platform")
MODES = ("cli", "nightly")
KEEPS = ("no", "failed", "always")
GOLDEN = ("no", "auto", "always")


def parse_duration(text: str) -> float:
    """Seconds of `90s`, `10m`, `6h`; raises `ValueError` with what is allowed: `4` alone may mean any of them."""
    match = re.fullmatch(r"([0-9]+(?:\.[0-9]+)?)(s|m|h)?", text.strip())
    if match is None or float(match[1]) <= 0:
        raise ValueError(f"{text!r} is not a duration; allowed: a number above 0 with s, m or h, e.g. 90s, 10m, 6h")
    if match[2] is None:
        raise ValueError(f"{match[1]} has no unit: {', '.join(match[1] + unit for unit in 'sm')} or {match[1]}h")
    return float(match[1]) * {"s": 1, "m": 60, "h": 3600}[match[2]]


def _pool(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= 64:
        raise ValueError(f"{text!r} is not a pool size; allowed: 1 to 64")
    return int(text)


def _images(text: str) -> str:
    """One image as it was given, or several by commas: a word of each stands in its tests' names then."""
    names = [part.strip() for part in text.split(",")]
    if len(names) == 1:
        return text.strip()
    for name in names:
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._/@+-]*", name):
            raise ValueError(f"{name!r} can't be one of several images; allowed: letters, digits and . _ / @ + -")
        if names.count(name) > 1:
            raise ValueError(f"{name!r} is there twice")
    return ",".join(names)


def _one_of(*allowed: str) -> Callable[[str], str]:
    def parse(text: str) -> str:
        if text not in allowed:
            raise ValueError(f"{text!r} is unknown; allowed: {', '.join(allowed)}")
        return text

    return parse


def _some_of(*allowed: str) -> Callable[[str], tuple[str, ...]]:
    def parse(text: str) -> tuple[str, ...]:
        wanted = tuple(part.strip() for part in text.split(",") if part.strip())
        for part in wanted or (text,):
            _one_of(*allowed)(part)
        return wanted

    return parse


@dataclass(frozen=True, kw_only=True)
class Option:
    """One setting."""

    name: str
    help: str
    metavar: str
    parse: Callable[[str], Any] = str
    default: str | None = None
    flag: bool = True
    """False: set by ini key and environment only."""
    env: str | None = None
    """The environment's name for it, where that isn't TESTLAB_<NAME>."""
    path: bool = False
    """A file or folder; a relative one in an ini file is relative to that file."""
    secret: bool = False
    """Taken out of the environment before anything is started."""

    @property
    def flag_name(self) -> str:
        """`--testlab-max-pool`."""
        return "--testlab-" + self.name.replace("_", "-")

    @property
    def dest(self) -> str:
        """`testlab_max_pool`: pytest's own name for it, and the ini key."""
        return "testlab_" + self.name

    @property
    def env_name(self) -> str:
        """`TESTLAB_MAX_POOL`."""
        return self.env or "TESTLAB_" + self.name.upper()


OPTIONS: tuple[Option, ...] = (
    Option(name="pool", metavar="N", parse=_pool, default="1", help="how many targets to run on at once"),
    Option(
        name="provider",
        metavar="P",
        default="local",
        help="who makes the servers: local, ssh, nspawn, hetzner, memory, or a plugin's",
    ),
    Option(name="platform", metavar="P", help="what puts apps on them: procfile (default), memory, or a plugin's"),
    Option(
        name="inventory",
        metavar="FILE",
        path=True,
        help="the servers that the provider ssh may use",
    ),
    Option(
        name="image",
        metavar="I",
        parse=_images,
        default="",
        help="the image that servers are made from; several, to run every test on each: debian-12,debian-13",
    ),
    Option(
        name="golden",
        metavar="G",
        parse=_one_of(*GOLDEN),
        default="auto",
        help="start from a snapshot of the installed platform: no, auto (default; where that pays) or always",
    ),
    Option(
        name="keep",
        metavar="K",
        parse=_one_of(*KEEPS),
        default="no",
        help="which servers outlive the run, for some hours: no (default), failed or always",
    ),
    Option(
        name="keep_for",
        metavar="4h",
        parse=parse_duration,
        default="4h",
        help="for how long a server that outlives its run is kept",
    ),
    Option(
        name="on",
        metavar="SERVER",
        help="run on this server, which an earlier run kept, as it is: neither made nor blanked, and in no history",
    ),
    Option(
        name="min_pool",
        metavar="N",
        parse=_pool,
        default="1",
        help="give the run up when fewer targets than this can be had",
    ),
    Option(
        name="server_type",
        metavar="T",
        help="the types of server to ask a cloud for, the first one that is to be had: cx23,cpx11",
    ),
    Option(
        name="location",
        metavar="L",
        help="the places to ask a cloud for servers in, the first one that has any: fsn1,nbg1",
    ),
    Option(name="network", metavar="N", flag=False, help="a private network to put a cloud's servers into"),
    Option(
        name="jump_host",
        metavar="USER@HOST",
        flag=False,
        help="the SSH server through which to reach servers that have no public IPv4 address",
    ),
    Option(name="suite", metavar="S", parse=_some_of(*SUITES), help="only these suites: " + ",".join(SUITES)),
    Option(name="priority", metavar="P0,P1", parse=_some_of(*PRIORITIES), help="only entries of these priorities"),
    Option(
        name="budget",
        metavar="6h",
        parse=parse_duration,
        default="6h",
        help="stop giving out tests after this",
    ),
    Option(name="follow", metavar="TEST", help="show the output of this test, or of this entry's tests, as it comes"),
    Option(name="mode", metavar="M", parse=_one_of(*MODES), default="cli", help="cli (default) or nightly"),
    Option(name="branch", metavar="B", help="the branch to record; default: the checkout's own"),
    Option(
        name="db",
        metavar="URL",
        env="TESTLAB_DATABASE_URL",
        secret=True,
        help="the PostgreSQL store; default: an embedded one below TESTLAB_HOME",
    ),
    Option(
        name="home",
        metavar="DIR",
        flag=False,
        path=True,
        help="where runs, bundles and the embedded store are kept; "
        "default: /var/lib/testlab for root, else ~/.local/share/testlab",
    ),
    Option(
        name="secrets_dir",
        metavar="DIR",
        flag=False,
        path=True,
        help="a folder with a file for each secret of an entry",
    ),
)


def from_ini(values: Mapping[str, str], folder: str | os.PathLike[str]) -> dict[str, str]:
    """An ini file's values by option name, with its relative folders made absolute; `folder` is the file's."""
    found = {}
    for option in OPTIONS:
        text = values.get(option.name, "")
        found[option.name] = os.path.join(folder, os.path.expanduser(text)) if option.path and text else text  # noqa: PTH111, PTH118 - pathlib takes longer to import than all of this
    return found


@dataclass(frozen=True, kw_only=True)
class Settings:
    """The settings of one session, parsed. Fields are named as the options are."""

    pool: int = 1
    provider: str = "local"
    platform: str | None = None
    inventory: str | None = None
    image: str = ""
    golden: str = "auto"
    keep: str = "no"
    keep_for: float = 4 * 3600.0
    """Seconds."""
    on: str | None = None
    min_pool: int = 1
    server_type: str | None = None
    location: str | None = None
    network: str | None = None
    jump_host: str | None = None
    suite: tuple[str, ...] | None = None
    priority: tuple[str, ...] | None = None
    budget: float = 6 * 3600.0
    """Seconds."""
    follow: str | None = None
    mode: str = "cli"
    branch: str | None = None
    db: str | None = dataclasses.field(default=None, repr=False)
    home: str | None = None
    secrets_dir: str | None = None
    credentials: Mapping[str, str] = dataclasses.field(default_factory=dict, repr=False)
    """What lets providers in, by its name in the environment; only where runs are steered (`testlab_credentials`)."""
    steers: bool = True
    """False in workers: they only connect to servers, and have no credentials; a provider mustn't ask for any there."""

    @property
    def images(self) -> tuple[str, ...]:
        """Each of `image`; one that is empty where none is named."""
        return tuple(self.image.split(",")) if "," in self.image else (self.image,)

    def refuse_images(self, why: str) -> None:
        """For providers whose servers are made from no image: raises `UsageError` where any is named."""
        if self.image:
            raise UsageError(f"--testlab-image: {self.image}: {why}; name no image, or another provider")


def resolve(
    flags: Mapping[str, str | None],
    ini: Mapping[str, str | None],
    environ: Mapping[str, str] | None = None,
) -> Settings:
    """Settings from flags, environment and ini file, in this order; raises `UsageError` naming the culprit.

    `flags` and `ini` are by option name; None or "" = not given.
    """
    environ = os.environ if environ is None else environ
    values: dict[str, Any] = {}
    for option in OPTIONS:
        sources = (
            (option.flag_name, flags.get(option.name)),
            (option.env_name, environ.get(option.env_name)),
            (f"{option.dest} in the ini file", ini.get(option.name)),
            ("the default", option.default),
        )
        for where, text in sources:
            if text:
                try:
                    values[option.name] = option.parse(text)
                except ValueError as error:
                    raise UsageError(f"{where}: {error}") from None
                break
    return Settings(**values)
