"""What the stand-in sells: places, types, images, prices. The figures are made up, in the shape of the cloud's."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

VAT = Decimal(19)
EPOCH = "2025-01-01T00:00:00+00:00"
_PLACES = (
    (1, "fsn1", "DE", "Falkenstein", "eu-central", 50.47612, 12.370071),
    (2, "nbg1", "DE", "Nuremberg", "eu-central", 49.452102, 11.076665),
    (3, "hel1", "FI", "Helsinki", "eu-central", 60.169855, 24.938379),
    (4, "ash", "US", "Ashburn, VA", "us-east", 39.045821, -77.487073),
)
_EU = ("fsn1", "nbg1", "hel1")
_TYPES = (  # id, name, cores, GB of memory, GB of disk, net euro an hour, where, where it is being phased out
    (22, "cpx11", 2, 2.0, 40, "0.0060", (*_EU, "ash"), _EU),
    (23, "cpx21", 3, 4.0, 80, "0.0113", (*_EU, "ash"), ()),
    (104, "cx23", 2, 4.0, 40, "0.0048", _EU, ()),
    (105, "cx33", 4, 8.0, 80, "0.0080", _EU, ()),
)
_IMAGES = (
    (201, "debian-12", "debian", "12", "Debian 12"),
    (202, "debian-13", "debian", "13", "Debian 13"),
    (203, "ubuntu-24.04", "ubuntu", "24.04", "Ubuntu 24.04"),
)
_HOURS_A_MONTH = 624


def price(net: str | Decimal) -> dict[str, str]:
    """Net and gross, as the strings that the API has for them."""
    amount = Decimal(net)
    return {"net": f"{amount:.10f}", "gross": f"{amount * (100 + VAT) / 100:.16f}"}


def _per_time(hourly: str) -> dict[str, Any]:
    return {"price_hourly": price(hourly), "price_monthly": price(Decimal(hourly) * _HOURS_A_MONTH)}


def _prices(hourly: str, places: tuple[str, ...]) -> list[dict[str, Any]]:
    traffic = {"included_traffic": 20 * 1024**4, "price_per_tb_traffic": price("1.00")}
    return [{"location": place, **_per_time(hourly), **traffic} for place in places]


def _location(number: int, name: str, country: str, city: str, zone: str, north: float, east: float) -> dict[str, Any]:
    return {
        "id": number,
        "name": name,
        "description": f"{city} DC Park 1",
        "country": country,
        "city": city,
        "latitude": north,
        "longitude": east,
        "network_zone": zone,
    }


LOCATIONS = {place[1]: _location(*place) for place in _PLACES}


def _phased_out(is_so: bool) -> dict[str, str] | None:
    return (
        {"announced": "2026-09-01T00:00:00+00:00", "unavailable_after": "2027-06-01T00:00:00+00:00"} if is_so else None
    )


def _type(
    number: int,
    name: str,
    cores: int,
    memory: float,
    disk: int,
    hourly: str,
    places: tuple[str, ...],
    old: tuple[str, ...],
) -> dict[str, Any]:
    return {
        "id": number,
        "name": name,
        "description": name.upper(),
        "category": "cost_optimized",
        "cores": cores,
        "memory": memory,
        "disk": disk,
        "deprecated": False,
        "prices": _prices(hourly, places),
        "storage_type": "local",
        "cpu_type": "shared",
        "architecture": "x86",
        "locations": [
            {
                "id": LOCATIONS[place]["id"],
                "name": place,
                "deprecation": _phased_out(place in old),
                "available": True,
                "recommended": place not in old,
            }
            for place in places
        ],
    }


SERVER_TYPES = {kind[1]: _type(*kind) for kind in _TYPES}


def image(number: int, **known: Any) -> dict[str, Any]:
    """An image with what is not said left at what fits most."""
    return {
        "id": number,
        "type": "system",
        "status": "available",
        "name": None,
        "description": "",
        "image_size": None,
        "disk_size": 5.0,
        "created": EPOCH,
        "created_from": None,
        "bound_to": None,
        "os_flavor": "debian",
        "os_version": None,
        "rapid_deploy": False,
        "protection": {"delete": False},
        "deprecated": None,
        "deleted": None,
        "labels": {},
        "architecture": "x86",
    } | known


def system_images() -> list[dict[str, Any]]:
    """The images that everybody has."""
    return [
        image(number, name=name, os_flavor=flavor, os_version=version, description=text, rapid_deploy=True)
        for number, name, flavor, version, text in _IMAGES
    ]


def pricing() -> dict[str, Any]:
    """The price list."""
    everywhere = tuple(LOCATIONS)
    return {
        "currency": "EUR",
        "vat_rate": f"{VAT:.6f}",
        "image": {"price_per_gb_month": price("0.0110")},
        "floating_ip": {"price_monthly": price("3.00")},
        "floating_ips": [
            {"type": kind, "prices": [{"location": place, "price_monthly": price(net)} for place in everywhere]}
            for kind, net in (("ipv4", "3.00"), ("ipv6", "1.00"))
        ],
        "primary_ips": [
            {"type": kind, "prices": [{"location": place, **_per_time(net)} for place in everywhere]}
            for kind, net in (("ipv4", "0.0008"), ("ipv6", "0.0000"))
        ],
        "server_types": [{key: kind[key] for key in ("id", "name", "prices")} for kind in SERVER_TYPES.values()],
        "load_balancer_types": [],
        "server_backup": {"percentage": "20.000000"},
        "volume": {"price_per_gb_month": price("0.0440")},
    }
