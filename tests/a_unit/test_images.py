"""How a pool is dealt to several images."""

from __future__ import annotations

import itertools

import pytest

from pytest_testlab.planning.images import Load, apportion, at_home, loads, projected_on_images_s, worth_moving
from pytest_testlab.planning.units import Unit


def unit(key: str, seconds: float, image: str | None = None) -> Unit:
    return Unit(key=key, indices=(0,), estimate_s=seconds, image=image)


def todo(**loads: tuple[float, int]) -> dict[str, Load]:
    return {image: Load(seconds=seconds, units=units) for image, (seconds, units) in loads.items()}


@pytest.mark.parametrize(
    ("work", "pool", "dealt"),
    [
        (todo(a=(10, 5), b=(10, 5)), 4, "aabb"),
        (todo(a=(30, 9), b=(10, 9)), 4, "aaab"),
        (todo(a=(100, 9), b=(1, 9)), 2, "ab"),
        (todo(a=(100, 9), b=(1, 9)), 1, "a"),
        (todo(a=(1, 9), b=(5, 9), c=(9, 9)), 2, "bc"),
        (todo(a=(100, 1), b=(1, 1)), 8, "ab"),
        (todo(a=(0, 0), b=(5, 3)), 2, "bb"),
        (todo(a=(0, 0)), 2, ""),
    ],
)
def test_apportion(work: dict[str, Load], pool: int, dealt: str) -> None:
    """By work, one for each image at least while there are enough, and none that would have nothing to do."""
    assert "".join(apportion(work, pool)) == dealt


def test_no_dealing_is_better() -> None:
    """Of all ways to deal five slots to three images none has its longest share shorter."""
    for seconds in itertools.product((1.0, 7.0, 20.0, 33.0), repeat=3):
        work = {image: Load(seconds=s, units=99) for image, s in zip("abc", seconds, strict=True)}
        dealt = apportion(work, 5)
        best = min(
            max(work[image].seconds / slots for image, slots in zip("abc", others, strict=True))
            for others in itertools.product(range(1, 6), repeat=3)
            if sum(others) == 5
        )
        assert max(work[image].seconds / dealt.count(image) for image in "abc") == best


def test_what_runs_anywhere_goes_where_there_is_least_to_do() -> None:
    """Tests that are not the catalog's need no image, and hold up none."""
    placed = at_home([unit("a", 9, "a"), unit("b", 1, "b"), unit("x", 3), unit("y", 3), unit("z", 3)], ("a", "b"))
    assert [it.image for it in placed] == ["a", "b", "b", "b", "b"]
    assert loads(placed, ("a", "b")) == todo(a=(9, 1), b=(10, 4))


@pytest.mark.parametrize(
    ("left_s", "slots", "new_s", "worth"),
    [(100, 2, 30, True), (50, 2, 30, False), (1, 0, 900, True), (0.1, 1, 0, True)],
)
def test_worth_moving(left_s: float, slots: int, new_s: float, worth: bool) -> None:
    """Only if there is still something to do once the new server is ready; always where nobody else does it."""
    assert worth_moving(left_s, slots, new_s) is worth


def test_projection() -> None:
    """The image that is through last counts; with fewer slots than images they come one after the other."""
    units = [unit("a", 4, "a"), unit("b", 4, "a"), unit("c", 3, "b")]
    assert projected_on_images_s(units, ("a", "b"), 2) == 8
    assert projected_on_images_s(units, ("a", "b"), 3) == 4
    assert projected_on_images_s(units, ("a", "b"), 1) == 11
    assert projected_on_images_s(units[:2], ("a", "b"), 2) == 4
