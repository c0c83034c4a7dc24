"""What other plugins would do to the tests of a catalog, and mustn't: reorder, cut, or repeat them."""

from __future__ import annotations

import itertools
from collections.abc import Generator

import pytest

from pytest_testlab.catalog.items import CatalogItem, Unit


class Beside:
    """A pytest plugin for each process that collects or runs tests of a catalog."""

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_collection_modifyitems(
        self, config: pytest.Config, items: list[pytest.Item]
    ) -> Generator[None, None, None]:
        """Let others shuffle (pytest-randomly) or sort (`--ff`) units, and never what must run in order inside one."""
        before = {id(item): index for index, item in enumerate(items)}
        yield
        keep_units(items, before)
        if config.pluginmanager.hasplugin("timeout"):
            _exempt_from_timeouts(items)


def keep_units(items: list[pytest.Item], before: dict[int, int]) -> None:
    """Put each unit's tests back together and in their own order, where the first of them now stands.

    `before` has the place of each item, by `id`, as it was collected.
    """
    places = [before.get(id(item), -1) for item in items]
    if all(one < other for one, other in itertools.pairwise(places)):
        return
    units: dict[Unit, list[pytest.Item]] = {}
    for item in items:
        if isinstance(item, CatalogItem):
            units.setdefault(item.unit, []).append(item)
    kept: list[pytest.Item] = []
    for item in items:
        if not isinstance(item, CatalogItem):
            kept.append(item)
        elif item.unit in units:
            kept += sorted(units.pop(item.unit), key=lambda one: before.get(id(one), -1))
    items[:] = kept


def _exempt_from_timeouts(items: list[pytest.Item]) -> None:
    """Keep pytest-timeout's alarm away: it could ring while a bundle is collected or an outcome is recorded.

    A test of the catalog keeps its entry's `timeout` by itself, and has a bundle then too.
    """
    for item in items:
        if isinstance(item, CatalogItem):
            item.add_marker(pytest.mark.timeout(0), append=False)
