"""A night on two images of hosts, and a run by hand after it: one install from scratch an image, and clones of that."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
from testlab_nspawn.provider import NspawnProvider

from pytest_testlab import labels
from pytest_testlab.options import Settings
from pytest_testlab.store.embedded import StoreHandle, open_store
from pytest_testlab.store.reads import runs
from pytest_testlab.store.views import RunView, TargetView

IMAGES = ("debian-12", "debian-13")
RELEASE = """
    import pytest

    @pytest.mark.parametrize("time", [1, 2])
    def test_release(target, testlab_image, time):
        named = target.run(". /etc/os-release && echo $ID-$VERSION_ID")
        assert named.text.strip() == target.server.image == testlab_image
        assert target.run("test ! -e /srv/used && touch /srv/used").exit_code == 0
"""


@pytest.fixture(scope="module")
def catalog(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("catalog")
    (folder / "pytest.ini").write_text("[pytest]\n")
    (folder / "test_release.py").write_text("\n".join(line[4:] for line in RELEASE.splitlines()))
    return folder


@pytest.fixture(scope="module")
def home() -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix="tl-", dir="/tmp"))
    folder.chmod(0o711)
    yield folder
    shutil.rmtree(folder)


def session(catalog: Path, home: Path, yard: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """A session on hosts, with snapshots though so short an install needs none; it passes."""
    own = ("--testlab-provider", "nspawn", "--testlab-golden", "always", "-p", "no:cacheprovider")
    done = subprocess.run(
        [str(Path(sys.executable).with_name("pytest")), *own, *arguments],
        cwd=catalog,
        env={**os.environ, "TESTLAB_HOME": str(home), "TESTLAB_NSPAWN_DIR": str(yard)},
        capture_output=True,
        text=True,
        timeout=400,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-1000:]
    return done


def latest(store: StoreHandle) -> Mapping[str, tuple[RunView, list[TargetView]]]:
    """Image → its run of the latest session, and the targets of that."""
    with store.engine.connect() as connection:
        run = runs.get_run(connection, "latest")
        assert run is not None
        return {it.image: (it, runs.targets(connection, it.run)) for it in runs.beside(connection, run)}


def snapshots(provider: NspawnProvider) -> Mapping[str, str]:
    """Of each golden snapshot its digest."""
    found = (it for it in provider.resources() if it.kind == "snapshot")
    return {it.id: it.labels[labels.DIGEST] for it in found}


def test_a_night_on_two_images_and_a_run_by_hand(
    catalog: Path, home: Path, yard: Path, provider: NspawnProvider
) -> None:
    """Each image is installed from scratch once; whatever it runs on after that is a clone of that disk."""
    done = session(catalog, home, yard, *two("--testlab-mode", "nightly", "--testlab-pool", "2", "-v"))
    for image in IMAGES:
        assert f"install[{image}]" in done.stdout
    made = snapshots(provider)
    assert len(made) == len(set(made.values())) == len(IMAGES)
    with open_store(Settings(home=str(home))) as store:
        for image, (run, targets) in latest(store).items():
            assert (run.lane, dict(run.counts)) == (f"nightly/-/procfile/nspawn/{image}", {"passed": 3})
            (target,) = targets
            assert target.proof["golden snapshot"].partition(", digest ")[0] in made
        again = session(catalog, home, yard, "--testlab-image", "debian-13", "--testlab-pool", "1")
        assert "2 passed" in again.stdout
        ((_, (target,)),) = latest(store).values()
        snapshot, digest = target.proof["golden snapshot"].split(", digest ")
        assert made[snapshot] == digest
        assert f"with the snapshot {snapshot}" in target.proof["image"]
    assert snapshots(provider) == made


def two(*arguments: str) -> tuple[str, ...]:
    return ("--testlab-image", ",".join(IMAGES), *arguments)
