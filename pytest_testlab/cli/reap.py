"""`testlab reap`: remove what runs left behind, once it has expired; needs no run, and no store."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from pytest_testlab.cli._common import exits, harmless, paint, print_json, settings_of, taken_environ
from pytest_testlab.options import parse_duration

if TYPE_CHECKING:
    from pytest_testlab.model import Resource
    from pytest_testlab.pool.reaper import Reaped


def add(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command."""
    parser = commands.add_parser("reap", help="remove servers and what else runs left behind, once it has expired")
    parser.add_argument("--dry-run", action="store_true", help="say what would go, and touch nothing")
    parser.add_argument(
        "--grace", metavar="10m", type=_duration, default="10m", help="how long after its expiry it is left alone; 10m"
    )
    parser.add_argument(
        "--provider",
        metavar="P",
        action="append",
        help="only what this provider made; may be repeated; default: all",
    )
    parser.add_argument("--json", action="store_true", help="print JSON and nothing else")
    exits(parser, {1: "something could not be listed or removed; the next pass tries again"})
    parser.set_defaults(handler=handle)


def _duration(text: str) -> float:
    try:
        return 0.0 if text in ("0", "0s", "0m", "0h") else parse_duration(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def handle(args: argparse.Namespace) -> int:
    """Reap, and say what went, what stayed and why; 1 when something could not be listed or removed."""
    from pytest_testlab.pool.reaping import reap_all

    reaped = reap_all(settings_of(args), taken_environ(), only=args.provider, grace_s=args.grace, dry_run=args.dry_run)
    if args.json:
        print_json(as_json(reaped))
    else:
        print("\n".join(lines(reaped, dry_run=args.dry_run)))
    return 1 if reaped.errors else 0


def as_json(reaped: Reaped) -> dict[str, Any]:
    """The shape of `testlab reap --json`."""
    return {
        "deleted": [resource.name for resource in reaped.deleted],
        "kept": [{"name": kept.resource.name, "why": kept.why, **_about(kept.resource)} for kept in reaped.kept],
        "errors": list(reaped.errors),
        "resources": [{"name": resource.name, **_about(resource)} for resource in reaped.deleted],
        "skipped": [{"provider": name, "why": why} for name, why in sorted(reaped.skipped.items())],
    }


def _about(resource: Resource) -> dict[str, str]:
    return {"kind": resource.kind, "provider": resource.provider, "id": resource.id}


def lines(reaped: Reaped, *, dry_run: bool = False) -> list[str]:
    """What a pass of the reaper did, for people."""
    gone = paint("would go" if dry_run else "deleted ", "green")
    told = [f"{gone}  {_named(resource)}" for resource in reaped.deleted]
    told += [f"kept      {_named(kept.resource)}: {harmless(kept.why)}" for kept in reaped.kept]
    told += [f"{paint('error   ', 'red', 'bold')}  {harmless(error)}" for error in reaped.errors]
    told += [paint(f"skipped   {name}: {harmless(why)}", "dim") for name, why in sorted(reaped.skipped.items())]
    return told if reaped.deleted or reaped.kept or reaped.errors else ["nothing was left behind", *told]


def _named(resource: Resource) -> str:
    return harmless(f"{resource.provider} {resource.kind} {resource.name}")
