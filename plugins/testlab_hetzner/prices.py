"""What things cost in euro an hour, taxes included, from the API's live price list."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from typing import Any

from pytest_testlab.errors import InfraError
from testlab_hetzner.cloud import Cloud

HOURS_A_MONTH = 730


class Prices:
    """The price list, read once a process. What isn't on it, or not in euro, has no price."""

    def __init__(self, cloud: Cloud) -> None:
        self._cloud = cloud
        self._lock = threading.Lock()
        self._list: Mapping[str, Any] | None = None
        self._not_before = 0.0

    def server(self, type_: str, location: str, *, ipv4: bool) -> float | None:
        """Of a server with its addresses; raises `InfraError` when the list can't be had."""
        own = _hourly(_named(self._pricing().get("server_types"), "name", type_), location)
        if own is None or not ipv4:
            return own
        address = self.address("ipv4", location)
        return None if address is None else own + address

    def address(self, type_: str, location: str) -> float | None:
        """Of a primary address, `ipv4` or `ipv6`; raises `InfraError`."""
        return _hourly(_named(self._pricing().get("primary_ips"), "type", type_), location)

    def snapshot(self, gigabytes: float) -> float | None:
        """Of an image of that size; raises `InfraError`. It is charged by the month."""
        price = self._pricing().get("image", {}).get("price_per_gb_month")
        month = _gross(price)
        return None if month is None else month * gigabytes / HOURS_A_MONTH

    def _pricing(self) -> Mapping[str, Any]:
        with self._lock:
            if self._list is None:
                if time.monotonic() < self._not_before:
                    raise InfraError("reading the price list: it could not be had a moment ago")
                try:
                    self._list = self._read()
                except InfraError:
                    self._not_before = time.monotonic() + 3 * self._cloud.times.prices
                    raise
            return self._list

    def _read(self) -> Mapping[str, Any]:
        what = "reading the price list"
        answer = self._cloud.ask(
            what, lambda client: client.request("GET", "/pricing"), within_s=self._cloud.times.prices
        )
        pricing = answer.get("pricing")
        if not isinstance(pricing, dict):
            raise InfraError(f"{what}: there is none in the API's answer")
        return pricing if pricing.get("currency") == "EUR" else {}


def _named(items: Any, key: str, name: str) -> Mapping[str, Any]:
    return next((item for item in items or () if item.get(key) == name), {})


def _hourly(item: Mapping[str, Any], location: str) -> float | None:
    return _gross(_named(item.get("prices"), "location", location).get("price_hourly"))


def _gross(price: Any) -> float | None:
    """The price list has them as text, with and without taxes."""
    try:
        return float(price["gross"])
    except (KeyError, TypeError, ValueError):
        return None
