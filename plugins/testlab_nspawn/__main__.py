"""`python -m testlab_nspawn [IMAGE…]`: make the images of hosts beforehand, or with `--remove` remove them."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from pytest_testlab.errors import TestlabError, UsageError
from testlab_nspawn import images, network, records
from testlab_nspawn.hosts import Hosts
from testlab_nspawn.places import Places
from testlab_nspawn.recipes import RECIPES, Recipe, recipe


def main(arguments: Sequence[str]) -> int:
    """Make or remove the images of these names; 2 for what the user can mend, 1 for all else."""
    parser = argparse.ArgumentParser(prog="python -m testlab_nspawn", description="The images of nspawn hosts.")
    parser.add_argument("images", nargs="*", metavar="IMAGE", help=f"of {', '.join(RECIPES)}; default: make them all")
    parser.add_argument("--remove", action="store_true", help="remove these; refused while a host stands on one")
    args = parser.parse_args(arguments)
    try:
        wanted = [recipe(name) for name in args.images]
        if args.remove and not wanted:
            raise UsageError("--remove: name the images to remove")
        places = Hosts().places
        remove(places, wanted) if args.remove else make(places, wanted or list(RECIPES.values()))
    except TestlabError as error:
        print(error, file=sys.stderr)  # noqa: T201 - a command
        return 2 if isinstance(error, UsageError) else 1
    return 0


def make(places: Places, wanted: Sequence[Recipe]) -> None:
    """Make them, where they aren't there."""

    def one(each: Recipe) -> None:
        image = images.prepare(places, each, lambda text: print(text, flush=True))  # noqa: T201 - a command
        images.configured(places, image)

    with ThreadPoolExecutor(2) as threads:  # a core each; what stands on another waits for it
        list(threads.map(one, sorted(wanted, key=lambda each: each.base is not None)))


def remove(places: Places, wanted: Sequence[Recipe]) -> None:
    """Remove them, those first that stand on others; raises `UsageError` at the first that is in use."""
    for each in sorted(wanted, key=lambda each: each.base is None):
        with network.machine_lock():
            images.discard(places, each, list(_stacks(places)))
        print(f"removed the image {each.name}")  # noqa: T201


def _stacks(places: Places) -> Iterator[records.HostRecord | records.LayerRecord]:
    """All that can stand on an image: other folders of hosts on this machine may share this one's."""
    for base in {places.base, *(Path(base) for base in network.claims().values() if base)}:
        yield from records.every_host(Places(base=base))
        yield from records.every_layer(Places(base=base))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
