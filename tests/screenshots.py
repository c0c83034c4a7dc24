"""Pictures of every page: light, dark, on a phone; after two nights, while a run goes on, and before the first night.

    python tests/screenshots.py FOLDER

A store of its own is made below a temporary folder and removed again; the browser is Debian's Chromium.
"""

from __future__ import annotations

import argparse
import datetime as dt
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent / "support"))

from nights import CHECK, CRASH, LOST, PROXY, first_night, passes, second_night
from pages import LAST_NIGHT, Lab, chromium_arguments, serving, visiting
from playwright.sync_api import Browser, Page, sync_playwright

from pytest_testlab.options import Settings
from pytest_testlab.store.embedded import open_store

LOOKS = (("light", 1280, 860), ("dark", 1280, 860), ("light", 390, 844))
PAGES = {
    "morning": "/",
    "runs": "/runs",
    "run": "/runs/latest",
    "attempt": f"/runs/latest/tests/{PROXY.test}",
    "attempt-hostile-log": f"/runs/latest/tests/{CHECK.test}/1/app",
    "attempt-crash": f"/runs/latest/tests/{CRASH.test}",
    "attempt-error": f"/runs/latest/tests/{LOST.test}",
    "attempt-blocked": f"/runs/latest/tests/{PROXY.test.replace('::install', '::check')}",
    "tests": "/tests",
    "servers": "/servers",
    "test": f"/tests/{CRASH.test}",
    "not-here": f"/runs/latest/tests/{PROXY.test[:-2]}",
}
EMPTY = {"empty-morning": "/", "empty-runs": "/runs", "empty-tests": "/tests", "empty-servers": "/servers"}


def main() -> None:
    """Take them all, and say where they are."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="where the pictures go")
    folder: Path = parser.parse_args().folder
    folder.mkdir(parents=True, exist_ok=True)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=_chromium(), args=chromium_arguments())
        with _lab() as lab:
            _shoot(browser, lab, EMPTY, folder)
            _shoot_closed(browser, lab, folder)
        with _lab() as lab:
            for day in range(24, 0, -1):
                lab.play(_name(day), first_night() if day % 7 else second_night(), days_ago=day)
            lab.play(_name(0), second_night())
            lab.lease_some(_name(0))
            _shoot(browser, lab, PAGES, folder)
            _shoot_running(browser, lab, folder)
        browser.close()
    sys.stdout.write(f"{len(list(folder.glob('*.png')))} pictures in {folder}\n")


def _name(days_ago: int) -> str:
    return f"{LAST_NIGHT - dt.timedelta(days=days_ago):%Y%m%d}-0231-k3f9"


@contextmanager
def _lab() -> Iterator[Lab]:
    home = Path(tempfile.mkdtemp(prefix="tl-shots-"))
    home.chmod(0o711)
    try:
        with open_store(Settings(home=str(home))) as store:
            yield Lab(store)
    finally:
        shutil.rmtree(home)


def _shoot(browser: Browser, lab: Lab, pages: dict[str, str], folder: Path) -> None:
    with serving(lab) as served:
        for look in LOOKS:
            with visiting(browser, served.origin, lab.links(served.origin).make()) as visit:
                _dress(visit.page, look)
                for name, path in pages.items():
                    visit.go(path)
                    _take(visit.page, folder, name, look)
                visit.complaints.clear()  # a page that isn't there is an error to the browser's console


def _shoot_closed(browser: Browser, lab: Lab, folder: Path) -> None:
    with serving(lab) as served:
        page = browser.new_page()
        page.goto(served.origin)
        _take(page, folder, "closed", LOOKS[0])
        page.close()


def _shoot_running(browser: Browser, lab: Lab, folder: Path) -> None:
    outcomes = second_night()
    with serving(lab) as served, lab.running("20261121-0900-live", outcomes) as night:
        for outcome in [*outcomes[:4], *passes()[:5]]:
            night.start(outcome)
            night.finish(outcome)
        night.start(outcomes[4], slot=1)
        for look in LOOKS:
            with visiting(browser, served.origin, lab.links(served.origin).make()) as visit:
                _dress(visit.page, look)
                for name, path in {"running-morning": "/", "running-run": "/runs/20261121-0900-live"}.items():
                    visit.go(path)
                    visit.page.wait_for_timeout(1500)
                    _take(visit.page, folder, name, look)


def _dress(page: Page, look: tuple[str, int, int]) -> None:
    scheme, width, height = look
    page.emulate_media(color_scheme="dark" if scheme == "dark" else "light")
    page.set_viewport_size({"width": width, "height": height})


def _take(page: Page, folder: Path, name: str, look: tuple[str, int, int]) -> None:
    page.screenshot(path=folder / f"{name}-{look[0]}-{look[1]}.png", full_page=True)


def _chromium() -> str:
    path = shutil.which("chromium")
    if path is None:
        raise SystemExit("no Chromium on PATH; install it: apt-get install chromium")
    return path


if __name__ == "__main__":
    main()
