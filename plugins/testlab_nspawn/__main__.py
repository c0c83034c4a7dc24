"""`python -m testlab_nspawn [IMAGE…]`: make the images of hosts beforehand; those that are there stay."""

from __future__ import annotations

import sys
from concurrent.futures import ThreadPoolExecutor

from pytest_testlab.errors import TestlabError, UsageError
from testlab_nspawn import images
from testlab_nspawn.hosts import Hosts
from testlab_nspawn.recipes import RECIPES, Recipe, recipe


def main(names: list[str]) -> int:
    """Make the images of these names, all that there are for none; 2 for what the user can mend, 1 for all else."""
    try:
        places = Hosts().places
        wanted = [recipe(name) for name in names] or list(RECIPES.values())

        def make(each: Recipe) -> None:
            image = images.prepare(places, each, lambda text: print(text, flush=True))  # noqa: T201 - a command
            images.configured(places, image)

        with ThreadPoolExecutor(2) as threads:  # a core each; what stands on another waits for it
            list(threads.map(make, sorted(wanted, key=lambda each: each.base is not None)))
    except TestlabError as error:
        print(error, file=sys.stderr)  # noqa: T201
        return 2 if isinstance(error, UsageError) else 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
