"""The lab inside a pytest session: who collects, who runs, who records. `configure` decides by the process's role."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest

from pytest_testlab.catalog.beside import Beside
from pytest_testlab.catalog.formats import Formats
from pytest_testlab.catalog.nodes import CatalogPlugin
from pytest_testlab.errors import UsageError
from pytest_testlab.options import OPTIONS, Settings
from pytest_testlab.plugins import credentials


def configure(config: pytest.Config, settings: Settings) -> None:
    """Register what this process needs; raises `UsageError` for what doesn't go together."""
    config.pluginmanager.register(Beside(), "testlab-beside")
    config.pluginmanager.register(CatalogPlugin(settings, lambda: formats_of(config, settings)), "testlab-catalog")
    if hasattr(config, "workerinput"):
        _configure_worker(config, settings)
    elif not config.option.collectonly:
        _configure_controller(config, settings)


def formats_of(config: pytest.Config, settings: Settings) -> Formats:
    """What plugins can read beside testlab.toml; raises `UsageError` with the place where one of them fails."""
    from pytest_testlab.plugins import offered_formats
    from pytest_testlab.session.assemble import hooks_of

    return Formats(offered_formats(hooks_of(config), settings.platform))


def _configure_worker(config: pytest.Config, settings: Settings) -> None:
    from pytest_testlab.distribution.worker import NoWorker, WorkerLoop
    from pytest_testlab.recording.journal import JournalFull
    from pytest_testlab.session.assemble import lab_from_wire

    config.option.testlab_db = None
    told = config.workerinput["testlab"]  # type: ignore[attr-defined]
    looks_every_s = config.workerinput["testlab_looks_every_s"]  # type: ignore[attr-defined]
    try:
        lab = lab_from_wire(config, settings)
        worker: object = WorkerLoop(
            lab,
            folder=Path(next(iter(told["folders"].values()))),
            name=told["worker"],
            looks_every_s=looks_every_s,
            follow=settings.follow,
        )
    except JournalFull as error:
        worker = NoWorker(f"a worker can't record anything: {error}")
    config.pluginmanager.register(worker, "testlab-worker")


def _configure_controller(config: pytest.Config, settings: Settings) -> None:
    from pytest_testlab.catalog.secrets import harvest_environ
    from pytest_testlab.session.assemble import hooks_of

    _refuse_workers_of_others(config)
    if settings.min_pool > settings.pool:
        raise UsageError(
            f"--testlab-min-pool {settings.min_pool} is more than --testlab-pool {settings.pool}: no run could begin"
        )
    settings = _on_server(settings)
    hooks = hooks_of(config)
    secrets = harvest_environ(os.environ)
    settings = replace(settings, credentials=credentials(hooks, os.environ))
    for name in settings.credentials:
        del os.environ[name]
    for option in OPTIONS:
        if option.secret:
            os.environ.pop(option.env_name, None)
    if settings.pool > 1:
        _refuse_what_cannot_be_distributed(config)
        from pytest_testlab.distribution import private
        from pytest_testlab.session.distributed import Distributed

        private.spread(config, settings.pool)
        config.pluginmanager.register(Distributed(config, settings, secrets, hooks), "testlab-session")
    else:
        from pytest_testlab.session.local import Local

        config.pluginmanager.register(Local(config, settings, secrets, hooks), "testlab-session")


def _on_server(settings: Settings) -> Settings:
    """The settings of a run on a kept server: its own provider, image and platform. Raises `UsageError`."""
    if settings.on is None:
        return settings
    from pytest_testlab.pool.kept import load, unknown_kept
    from pytest_testlab.store.home import home

    found = load(home(settings), settings.on)
    if found is None:
        raise unknown_kept(home(settings), settings.on)
    if settings.pool > 1 or settings.keep != "no":
        raise UsageError("--testlab-on runs on that one server, which is kept already: leave both others out")
    image = found.server.image or ""
    platform = settings.platform or found.platform
    return replace(settings, provider=found.server.provider, platform=platform, image=image)


def _refuse_what_cannot_be_distributed(config: pytest.Config) -> None:
    if not config.pluginmanager.hasplugin("xdist"):
        raise UsageError("--testlab-pool above 1 needs pytest-xdist: take `-p no:xdist` away, or use --testlab-pool 1")
    if getattr(config.option, "usepdb", False):
        raise UsageError("--pdb needs the tests in this process: use it with --testlab-pool 1")


def _refuse_workers_of_others(config: pytest.Config) -> None:
    """Also with one target: a worker that the lab didn't start has no slot, and so no target."""
    if getattr(config.option, "numprocesses", None) or getattr(config.option, "tx", None):
        raise UsageError(
            "-n and --tx don't go with --testlab-pool, which starts a worker for each target: leave them out, "
            "or add -n 0 where the ini file has them"
        )
