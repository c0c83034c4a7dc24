"""`testlab servers`: what is alive, and until when; `release` ends one, `extend` prolongs one."""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import datetime as dt
import os
import socket
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from pytest_testlab.cli._common import exits, harmless, local, paint, print_json, reading, settings_of, taken_environ
from pytest_testlab.errors import InfraError, TestlabError, UsageError
from pytest_testlab.money import euro
from pytest_testlab.options import Settings, parse_duration

if TYPE_CHECKING:
    from sqlalchemy import Engine

    from pytest_testlab.model import Resource
    from pytest_testlab.pool.alive import Alive
    from pytest_testlab.protocols import Provider

LONGEST = dt.timedelta(days=7)
"""From now on; what is to stand for longer is no disposable server."""
HOLD_S = 300.0
"""How long nobody else may begin to use a server that is being released."""
COLOURS = {"in use": "green", "kept": "yellow", "left behind": "red"}


def add(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command."""
    parser = commands.add_parser("servers", help="list the servers that are alive; release or extend one")
    reading(parser)
    exits(parser, {1: "a provider could not be asked"})
    parser.set_defaults(handler=handle)
    actions = parser.add_subparsers(title="actions", metavar="ACTION", dest="action")
    release = actions.add_parser("release", help="end a server, and remove the key to it")
    release.add_argument("name", metavar="NAME")
    release.add_argument("--force", action="store_true", help="also where the store can't say whether a run uses it")
    release.set_defaults(handler=handle_release)
    extend = actions.add_parser("extend", help="have a server stand for longer")
    extend.add_argument("name", metavar="NAME")
    extend.add_argument("by", metavar="2h", nargs="?", type=_duration, default="2h", help="by how much; 2h")
    extend.set_defaults(handler=handle_extend)


def _duration(text: str) -> dt.timedelta:
    try:
        return dt.timedelta(seconds=parse_duration(text))
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


@dataclass(kw_only=True)
class Look:
    """What was found."""

    servers: list[Alive]
    providers: Mapping[str, Provider]
    resources: Mapping[str, Sequence[Resource]]
    errors: list[str] = field(default_factory=list)
    engine: Engine | None = None
    """None while the store is away."""
    store: str = ""
    """Why it is away."""
    settings: Settings


@contextlib.contextmanager
def _look(args: argparse.Namespace) -> Iterator[Look]:
    """Ask the providers, and the store if it can be had: what is alive is known without it."""
    from pytest_testlab.pool.alive import alive, listed
    from pytest_testlab.pool.reaping import askable, close
    from pytest_testlab.store.home import home
    from pytest_testlab.store.reads import leases

    settings = settings_of(args)
    providers, _ = askable(settings, taken_environ())
    with contextlib.ExitStack() as stack:
        stack.callback(close, providers.values())
        engine, why = _store(settings, stack)
        resources, errors = listed(providers)
        held = []
        if engine is not None:
            with engine.connect() as connection:
                held = leases.alive(connection)
        yield Look(
            servers=alive(resources, held, home(settings)),
            providers=providers,
            resources=resources,
            errors=errors,
            engine=engine,
            store=why,
            settings=settings,
        )


def _store(settings: Settings, stack: contextlib.ExitStack) -> tuple[Engine | None, str]:
    from pytest_testlab.store.embedded import open_store

    try:
        return stack.enter_context(open_store(settings)).engine, ""
    except TestlabError as error:
        return None, str(error)


def handle(args: argparse.Namespace) -> int:
    """Print the list; 1 when a provider could not list all that it has."""
    now = dt.datetime.now(dt.UTC)
    with _look(args) as look:
        if args.json:
            print_json([as_json(server, now) for server in look.servers])
            for error in look.errors:
                print(f"testlab: {harmless(error)}", file=sys.stderr)
        else:
            _print(look, now)
    return 1 if look.errors else 0


def _print(look: Look, now: dt.datetime) -> None:
    for server in look.servers:
        print("\n".join(_lines(server, now)))
    for error in look.errors:
        print(paint(harmless(error), "red"))
    if look.store:
        print(paint(f"which run uses what can't be said: {harmless(look.store)}", "yellow"))
    if not look.servers and not look.errors:
        print("no server is alive")


def as_json(server: Alive, now: dt.datetime) -> dict[str, Any]:
    """The shape of a server that `--json` keeps; moments are ISO 8601."""
    until = server.expires_at
    return {
        **dataclasses.asdict(server),
        "age_s": None if server.created_at is None else (now - server.created_at).total_seconds(),
        "expires_in_s": None if until is None else (until - now).total_seconds(),
        "cost_eur": server.cost_eur(now),
    }


def _lines(server: Alive, now: dt.datetime) -> list[str]:
    state = paint(f"{server.state:<11}", COLOURS.get(server.state, "dim"))
    words = [f"run {server.run}" if server.run else ""]
    words.append(f"{server.test} failed" if server.test else "kept as all of its run" if server.kept else "")
    words.append(f"since {local(server.created_at)}" if server.created_at else "")
    if server.expires_at is not None:
        words.append(f"until {local(server.expires_at)}" + (" (expired)" if server.expires_at <= now else ""))
    cost = server.cost_eur(now)
    words.append("" if cost is None else f"{euro(cost)} so far")
    told = harmless(", ".join(filter(None, words)))
    line = f"{state} {server.provider:<8} {harmless(server.name)}  {told}"
    return [line, f"    {server.ssh}"] if server.ssh else [line]


def handle_release(args: argparse.Namespace) -> int:
    """End a server that nobody uses; raises `UsageError` for one that somebody does."""
    from pytest_testlab.pool import kept
    from pytest_testlab.pool.keeping import parts_of
    from pytest_testlab.store.home import home

    with _look(args) as look:
        server = _named(look, args.name)
        provider: Any = look.providers[server.provider]
        with _held(look, server, force=args.force):
            try:
                for resource in parts_of(look.resources[server.provider], server.name):
                    provider.remove(resource)
            except InfraError as error:
                raise UsageError(
                    f"{server.name} can't be removed: {error}; try again, or wait for the reaper"
                ) from None
            kept.forget(home(look.settings), server.name)
    print(f"released {server.name}")
    return 0


def handle_extend(args: argparse.Namespace) -> int:
    """Have a server stand for longer; raises `UsageError` for one that a run of its own looks after."""
    from pytest_testlab import labels
    from pytest_testlab.pool.keeping import ALWAYS, parts_of
    from pytest_testlab.session.show.style import human
    from pytest_testlab.store.writes import leases

    with _look(args) as look:
        server = _named(look, args.name)
        if server.state == "in use" and not server.kept:
            raise UsageError(f"{server.name} is in use by run {server.run}, which sees to it that it stands")
        now = dt.datetime.now(dt.UTC)
        until = max(server.expires_at or now, now) + args.by
        if until > now + LONGEST:
            raise UsageError(
                f"{server.name} would stand until {local(until)}; {LONGEST.days} days from now is the longest"
            )
        provider: Any = look.providers[server.provider]
        written = {labels.EXPIRES: labels.moment(until), labels.KEPT: server.kept or ALWAYS}
        try:
            for resource in parts_of(look.resources[server.provider], server.name):
                provider.write_labels(resource, written)
        except InfraError as error:
            raise UsageError(f"{server.name} can't be extended: {error}") from None
        if look.engine is not None:
            with look.engine.begin() as connection:
                leases.extend(connection, f"{server.provider}/{server.name}", until)
    print(f"{server.name} stands until {local(until)}: {human(args.by.total_seconds())} more")
    return 0


def _named(look: Look, name: str) -> Alive:
    from pytest_testlab.plugins import nearest

    listed = [server for server in look.servers if server.provider in look.resources]
    found = next((server for server in listed if server.name == name), None)
    if found is None:
        raise UsageError(f"no server of the lab's is called {name!r}{nearest(name, [one.name for one in listed])}")
    return found


@contextlib.contextmanager
def _held(look: Look, server: Alive, *, force: bool) -> Iterator[None]:
    """With the server's lease, so that no run begins on it meanwhile, and none that uses it loses it."""
    from pytest_testlab.store.reads import leases as reads
    from pytest_testlab.store.writes import leases

    if look.engine is None:
        if not force:
            raise UsageError(f"whether a run uses {server.name} can't be said, as {look.store}; --force takes the risk")
        yield
        return
    who = leases.Claimant(
        key=f"{server.provider}/{server.name}",
        provider=server.provider,
        server=server.name,
        run=server.run,
        slot=0,
        holder=f"testlab servers release {socket.gethostname()}:{os.getpid()}",
        trigger="testlab servers release",
    )
    with look.engine.begin() as connection:
        granted = leases.take(connection, who, HOLD_S)
        other = None if granted is not None else reads.find(connection, who.key)
    if granted is None:
        raise UsageError(f"{server.name} is in use by {other}; end that first")
    try:
        yield
    finally:
        with look.engine.begin() as connection:
            leases.release(connection, who, granted.epoch)
