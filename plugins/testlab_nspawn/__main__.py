"""`python -m testlab_nspawn [IMAGE…]`: make the images of hosts beforehand; those that are there stay."""

from __future__ import annotations

import sys

from pytest_testlab.errors import TestlabError, UsageError
from testlab_nspawn import images
from testlab_nspawn.hosts import Hosts
from testlab_nspawn.recipes import RECIPES, recipe


def main(names: list[str]) -> int:
    """Make the images of these names, all that there are for none; 2 for what the user can mend, 1 for all else."""
    try:
        places = Hosts().places
        for wanted in [recipe(name) for name in names] or RECIPES.values():
            image = images.prepare(places, wanted, lambda text: print(text, flush=True))  # noqa: T201 - a command
            images.configured(places, image)
    except TestlabError as error:
        print(error, file=sys.stderr)  # noqa: T201
        return 2 if isinstance(error, UsageError) else 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
