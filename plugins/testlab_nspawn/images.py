"""What hosts are made from: images, made once and kept, and this machine's configuration as a layer above them.

Both are built beside their place and moved there when they are whole; what a killed build left is removed by the next
one. A build works in namespaces of its own for mounts and processes, which end with whoever builds.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import os
import re
import secrets
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from pytest_testlab.errors import InfraError, UsageError
from testlab_nspawn import places as files
from testlab_nspawn.commands import PATH, call
from testlab_nspawn.places import Places
from testlab_nspawn.recipes import RECIPES, Recipe
from testlab_nspawn.records import HostRecord, LayerRecord
from testlab_nspawn.surroundings import Surroundings, look

BUILD_WITHIN_S = 1800.0
LAYER_WITHIN_S = 120.0
UNUSED_DAYS = 30
_ALONE = ("setpriv", "--pdeathsig", "KILL", "unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc")
# In memory: dpkg asks for its files to be on the disk thousands of times, and one copy at the end does as well.
_DEBOOTSTRAP = """
set -eu
mkdir "$place/root" "$place/mounted"
mount -t tmpfs -o mode=0755,size=3g tmpfs "$place/mounted"
debootstrap --variant=minbase --include="$packages" "$release" "$place/mounted" "$mirror" >"$place/log" 2>&1 || {
    tail -n 5 "$place/log" >&2
    exit 1
}
cd "$place/mounted"
"""
_COPY = """
cp -a . "$place/root/"
"""
_OVERLAY = """
set -eu
mkdir -p "$place/root" "$place/work" "$place/mounted"
mount -t overlay overlay -o "lowerdir=$lower,upperdir=$place/root,workdir=$place/work,volatile" "$place/mounted"
cd "$place/mounted"
"""
_INSIDE = """
mount -t proc proc proc
chroot . /bin/sh -euc "cd /; $script" </dev/null
umount proc
"""
_CERTIFICATES = """
cp -R --remove-destination "$place/files/." .
chroot . update-ca-certificates >/dev/null 2>&1 || { echo "update-ca-certificates failed" >&2; exit 1; }
"""


@dataclass(frozen=True, kw_only=True)
class Image:
    """An image that is there."""

    name: str
    release: str
    digest: str
    folders: tuple[Path, ...]
    """Its lower folders, the topmost first."""


def find(places: Places, recipe: Recipe) -> Image | None:
    """An image that was made of just this recipe; None while it is still to be made."""
    below = find(places, RECIPES[recipe.base]) if recipe.base else None
    folder = _folder(places, recipe)
    if (recipe.base and below is None) or not (folder / "image.json").is_file():
        return None
    folders = (folder / "root", *(below.folders if below else ()))
    return Image(name=recipe.name, release=recipe.release, digest=recipe.digest, folders=folders)


def prepare(places: Places, recipe: Recipe, say: Callable[[str], object] = lambda _text: None) -> Image:
    """An image, made now if it isn't there: that takes a minute or two. Raises `InfraError`."""
    found = find(places, recipe)
    if found is None:
        below = prepare(places, RECIPES[recipe.base], say) if recipe.base else None
        with _building(places.images, recipe.name, BUILD_WITHIN_S) as handle:
            if find(places, recipe) is None:
                say(f"making the image {recipe.name}, which is kept: a minute or two")
                _build(places, recipe, below, handle)
        found = find(places, recipe)
        if found is None:
            raise InfraError(f"the image {recipe.name} is gone again as soon as it was made")
    with contextlib.suppress(FileNotFoundError):
        os.utime(_folder(places, recipe) / "image.json")
    return found


def configured(places: Places, image: Image) -> tuple[Path, ...]:
    """An image's lower folders with this machine's configuration above them, the topmost first."""
    around = look()
    folder = places.machine / f"{image.name}-{image.digest}-{around.digest(image.release)}"
    if not (folder / "layer.json").is_file():
        with _building(places.machine, folder.name, LAYER_WITHIN_S) as handle:
            if not (folder / "layer.json").is_file():
                _configure(places, folder, image, around, handle)
    with contextlib.suppress(FileNotFoundError):
        os.utime(folder / "layer.json")
    return (folder / "root", *image.folders)


def sweep(places: Places, used: set[Path]) -> None:
    """Remove what killed builds left; and what no recipe makes any more, no host stands on, nobody used for a month."""
    for lock in (*places.images.glob(".*.lock"), *places.machine.glob(".*.lock")):
        if list(lock.parent.glob(f"{lock.stem}.building-*")):
            with contextlib.suppress(InfraError), files.locked(lock, 0, doing="looking for what builds left"):
                for left in lock.parent.glob(f"{lock.stem}.building-*"):
                    files.remove(left)
    current = {_folder(places, recipe) for recipe in RECIPES.values()}
    for mark in (*places.images.glob("*/image.json"), *places.machine.glob("*/layer.json")):
        old = time.time() - mark.stat().st_mtime > UNUSED_DAYS * 86_400
        if old and mark.parent not in current and mark.parent / "root" not in used:
            mark.unlink()
            files.remove(mark.parent)


def discard(places: Places, recipe: Recipe, stacks: Iterable[HostRecord | LayerRecord]) -> None:
    """Remove an image, older ones of its name, and this machine's configuration above them. The machine's lock is held.

    Raises `UsageError`, and removes nothing, while one of `stacks` (all hosts and snapshots) or another image stands on
    it.
    """
    folders = [*_named(places.images, recipe.name, 1), *_named(places.machine, recipe.name, 2)]
    if not folders:
        raise UsageError(f"there is no image {recipe.name} below {places.images}")
    for above in RECIPES.values():
        if above.base == recipe.name and _named(places.images, above.name, 1):
            raise UsageError(f"the image {above.name} stands on {recipe.name}: remove that first, or both")
    roots = {(folder / "root").resolve() for folder in folders}
    for record in stacks:
        if roots & {Path(path).resolve() for path in record.lower}:
            what = "snapshot" if isinstance(record, LayerRecord) else "host"
            raise UsageError(
                f"the {what} {record.name} stands on {recipe.name}: testlab servers and testlab reap end it"
            )
    for folder in folders:
        for mark in ("image.json", "layer.json"):
            (folder / mark).unlink(missing_ok=True)
        files.remove(folder)


def _named(folder: Path, name: str, digests: int) -> list[Path]:
    """What is there of an image's name and so many digests."""
    whole = re.compile(re.escape(name) + r"-[0-9a-f]+" * digests)
    return sorted(path for path in folder.glob(f"{name}-*") if whole.fullmatch(path.name))


def _folder(places: Places, recipe: Recipe) -> Path:
    return places.images / f"{recipe.name}-{recipe.digest}"


@contextlib.contextmanager
def _building(folder: Path, name: str, within_s: float) -> Iterator[int]:
    """Whoever builds a thing does so alone. What others began and didn't end is nobody's then, and goes."""
    lock = files.lock_file(folder / f".{name}.lock")
    with files.locked(lock, within_s, doing=f"making {name}") as handle:
        for left in folder.glob(f".{name}.building-*"):
            files.remove(left)
        yield handle


def _build(places: Places, recipe: Recipe, below: Image | None, handle: int) -> None:
    place = _draft(places.images, recipe.name)
    around = look()
    env = {"place": str(place), "script": recipe.script, "release": recipe.release}
    if below is None:
        env |= {"packages": ",".join(recipe.packages), "mirror": around.mirror}
        env |= {name: around.environment[name] for name in ("http_proxy", "no_proxy") if name in around.environment}
        script = _DEBOOTSTRAP + _INSIDE + _COPY
    else:
        env["lower"] = ":".join(map(str, configured(places, below)))
        script = _OVERLAY + _INSIDE
    _alone(script, env, BUILD_WITHIN_S, handle, f"the image {recipe.name} can't be made")
    _settle(place, _folder(places, recipe), "image.json", {"name": recipe.name, "digest": recipe.digest})


def _configure(places: Places, folder: Path, image: Image, around: Surroundings, handle: int) -> None:
    place = _draft(places.machine, folder.name)
    for name, text in around.files(image.release).items():
        _write(place / "files" / name, text.encode())
    for name, certificate in around.certificates.items():
        _write(place / "files/usr/local/share/ca-certificates" / name, certificate)
    env = {"place": str(place), "lower": ":".join(map(str, image.folders))}
    what = f"this machine's configuration can't be put above {image.name}"
    _alone(_OVERLAY + _CERTIFICATES, env, LAYER_WITHIN_S, handle, what)
    _settle(place, folder, "layer.json", {"image": image.name, "digest": image.digest})


def _alone(script: str, env: dict[str, str], within_s: float, handle: int, what: str) -> None:
    """Run a script where its mounts and processes end with it. The lock is held for as long as it runs."""
    try:
        call(*_ALONE, "/bin/sh", "-c", script, within_s=within_s, env=env | {"PATH": PATH}, pass_fds=(handle,))
    except InfraError as error:
        raise InfraError(f"{what}: {error}") from error


def _draft(folder: Path, name: str) -> Path:
    place = folder / f".{name}.building-{secrets.token_hex(4)}"
    place.mkdir(mode=0o700)
    return place


def _settle(place: Path, folder: Path, mark: str, words: dict[str, str]) -> None:
    """Move what was built to its place. The mark is in it, so that there is no place without one."""
    for scrap in ("work", "mounted", "files"):
        files.remove(place / scrap)
    (place / "root").chmod(0o755)
    call("sync", "-f", str(place), within_s=120)
    files.write_json(place / mark, words | {"made": dt.datetime.now(dt.UTC).isoformat(timespec="seconds")})
    if folder.exists():  # without its mark: half of it was removed
        files.remove(folder)
    place.rename(folder)


def _write(file: Path, content: bytes) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(content)
