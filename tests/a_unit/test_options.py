"""The settings: one list, three sources, errors that name the culprit."""

from __future__ import annotations

import pytest

from pytest_testlab.errors import UsageError
from pytest_testlab.options import OPTIONS, Settings, from_ini, parse_duration, resolve


def test_defaults() -> None:
    """Without any source, the defaults are those that the reference gives."""
    assert resolve({}, {}, {}) == Settings()


def test_precedence() -> None:
    """A flag wins over the environment, which wins over the ini file."""
    flags, environ, ini = {"pool": "4"}, {"TESTLAB_POOL": "3"}, {"pool": "2"}
    assert resolve(flags, ini, environ).pool == 4
    assert resolve({}, ini, environ).pool == 3
    assert resolve({}, ini, {}).pool == 2


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        ({"pool": "0"}, "--testlab-pool: '0' is not a pool size; allowed: 1 to 64"),
        ({"pool": "many"}, "--testlab-pool: 'many' is not a pool size; allowed: 1 to 64"),
        ({"suite": "apps,aps"}, "--testlab-suite: 'aps' is unknown; allowed: apps, demos, tutorials, platform"),
        ({"priority": "P3"}, "--testlab-priority: 'P3' is unknown; allowed: P0, P1, P2"),
        ({"golden": "yes"}, "--testlab-golden: 'yes' is unknown; allowed: no, auto, always"),
        ({"image": "debian-12,debian-12"}, "--testlab-image: 'debian-12' is there twice"),
        (
            {"image": "debian-12,"},
            "--testlab-image: '' can't be one of several images; allowed: letters, digits and . _ / @ + -",
        ),
        ({"mode": "daily"}, "--testlab-mode: 'daily' is unknown; allowed: cli, nightly"),
        (
            {"budget": "6 hours"},
            "--testlab-budget: '6 hours' is not a duration; allowed: a number above 0 with s, m or h, "
            "e.g. 90s, 10m, 6h",
        ),
        ({"budget": "4"}, "--testlab-budget: 4 has no unit: 4s, 4m or 4h"),
        ({"keep_for": "1.5"}, "--testlab-keep-for: 1.5 has no unit: 1.5s, 1.5m or 1.5h"),
    ],
)
def test_bad_values(flags: dict[str, str], words: str) -> None:
    """A bad value is refused in one line that says where it stands and what is allowed."""
    with pytest.raises(UsageError) as caught:
        resolve(flags, {}, {})
    assert str(caught.value) == words


def test_a_bad_environment_is_named() -> None:
    """The error names the variable, not the flag."""
    with pytest.raises(UsageError, match=r"^TESTLAB_POOL: "):
        resolve({}, {}, {"TESTLAB_POOL": "x"})


@pytest.mark.parametrize(("text", "seconds"), [("90s", 90), ("0.5s", 0.5), ("1.5m", 90), ("6h", 21600)])
def test_durations(text: str, seconds: float) -> None:
    """Seconds, minutes and hours."""
    assert parse_duration(text) == seconds


@pytest.mark.parametrize(
    ("text", "images"), [("", ("",)), ("a", ("a",)), ("a, b", ("a", "b")), ("some thing", ("some thing",))]
)
def test_images(text: str, images: tuple[str, ...]) -> None:
    """Several are told apart by commas; one is taken as it is."""
    assert resolve({"image": text}, {}, {}).images == images


@pytest.mark.parametrize("image", ["a,b", "debian-12"])
def test_a_provider_without_images_refuses_any(image: str) -> None:
    """In one line, which says who and what to do; without any there is nothing to refuse."""
    with pytest.raises(
        UsageError, match=rf"^--testlab-image: {image}: it has none; name no image, or another provider"
    ):
        resolve({"image": image}, {}, {}).refuse_images("it has none")
    resolve({}, {}, {}).refuse_images("it has none")


def test_folders_of_an_ini_file_are_relative_to_it() -> None:
    """Whoever reads the file, from wherever, means the same folder; other values are left alone."""
    found = from_ini({"home": "lab", "secrets_dir": "/etc/lab", "pool": "3"}, "/srv/catalog")
    assert (found["home"], found["secrets_dir"], found["pool"]) == ("/srv/catalog/lab", "/etc/lab", "3")
    assert found["platform"] == ""


def test_every_field_has_an_option() -> None:
    """No setting is without its flag or key, and none is without its field."""
    no_settings = {"credentials", "steers"}
    assert {option.name for option in OPTIONS} == set(Settings.__dataclass_fields__) - no_settings


def test_the_database_url_is_not_shown() -> None:
    """A password in the store's URL doesn't show in a repr."""
    assert "hunter2" not in repr(resolve({"db": "postgresql://u:hunter2@h/d"}, {}, {}))
