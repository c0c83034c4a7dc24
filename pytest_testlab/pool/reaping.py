"""A pass of the reaper over every provider of this machine, from outside of any run."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace

import pluggy

from pytest_testlab.diagnosis.redact import Redactor
from pytest_testlab.errors import TestlabError, UsageError
from pytest_testlab.options import Settings
from pytest_testlab.plugins import called, credentials, made, offers, plugin_manager
from pytest_testlab.pool import kept
from pytest_testlab.pool.reaper import GRACE_S, SERVER, WITHIN_S, Reaped, masked, reap, sweep
from pytest_testlab.protocols import Provider
from pytest_testlab.store.home import home_path


def reap_all(
    settings: Settings,
    environ: Mapping[str, str],
    *,
    only: Iterable[str] | None = None,
    grace_s: float = GRACE_S,
    dry_run: bool = False,
    within_s: float = WITHIN_S,
) -> Reaped:
    """Reap what each provider has that can be asked; `only` names those to ask. What they say is masked.

    Raises `UsageError` for an unknown name, and when one that was named can't be asked; others are skipped then.
    """
    manager = plugin_manager()
    settings = replace(settings, credentials=credentials(manager, environ))
    providers, skipped = _asked(manager, settings, only)
    try:
        reaped = reap(providers, grace_s=grace_s, dry_run=dry_run, within_s=within_s)
    finally:
        close(providers.values())
    if not dry_run:
        forget_keys(settings, reaped)
    return masked(replace(reaped, skipped={**skipped, **reaped.skipped}), _mask(manager, settings))


def forget_keys(settings: Settings, reaped: Reaped) -> None:
    """Nobody needs the key to a kept server any more that is gone."""
    for resource in reaped.deleted:
        if resource.kind == SERVER:
            kept.forget(home_path(settings), resource.name)


def sweep_runs(provider: str, runs: Iterable[str], settings: Settings, environ: Mapping[str, str]) -> Reaped:
    """Remove at once what runs left that are known to work no more; a provider that can't be asked is skipped.

    What it says is masked.
    """
    manager = plugin_manager()
    settings = replace(settings, credentials=credentials(manager, environ))
    try:
        providers, _ = _asked(manager, settings, [provider])
    except UsageError as error:
        return Reaped(skipped={provider: str(error)})
    try:
        return masked(sweep(providers[provider], *runs), _mask(manager, settings))
    finally:
        close(providers.values())


def askable(settings: Settings, environ: Mapping[str, str]) -> tuple[dict[str, Provider], dict[str, str]]:
    """Every provider that can be asked, let in by what the environment holds, and why the others can't."""
    manager = plugin_manager()
    settings = replace(settings, credentials=credentials(manager, environ))
    return _asked(manager, settings, None)


def _mask(manager: pluggy.PluginManager, settings: Settings) -> Callable[[str], str]:
    shapes = [shape for shapes in manager.hook.testlab_redactors() for shape in shapes or ()]
    return Redactor(frozenset(settings.credentials.values()), shapes).redact_text


def _asked(
    manager: pluggy.PluginManager, settings: Settings, only: Iterable[str] | None
) -> tuple[dict[str, Provider], dict[str, str]]:
    """(the providers that can be asked, why the others can't)."""
    settings = replace(settings, image="")  # what a run is to be made from refuses nobody who is only asked
    providers: dict[str, Provider] = {}
    skipped: dict[str, str] = {}
    for name in sorted(offers(called(manager, "testlab_providers"))) if only is None else dict.fromkeys(only):
        try:
            providers[name] = made(manager, "provider", name, settings)
        except (TestlabError, OSError) as error:
            if only is not None:
                raise UsageError(f"the provider {name} can't be asked: {error}") from error
            skipped[name] = " ".join(str(error).split())
    return providers, skipped


def close(providers: Iterable[Provider]) -> None:
    """End what providers hold open."""
    for provider in providers:
        end = getattr(provider, "close", None)
        if end is not None:
            end()
