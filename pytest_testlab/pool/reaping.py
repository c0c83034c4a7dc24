"""A pass of the reaper over every provider of this machine, from outside of any run."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

from pytest_testlab.diagnosis.redact import Redactor
from pytest_testlab.errors import TestlabError, UsageError
from pytest_testlab.options import Settings
from pytest_testlab.plugins import credentials, offers, pick, plugin_manager
from pytest_testlab.pool.reaper import GRACE_S, WITHIN_S, Reaped, masked, reap
from pytest_testlab.protocols import Provider


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
    providers, skipped = _made(settings, offers(manager.hook.testlab_providers()), only)
    try:
        reaped = reap(providers, grace_s=grace_s, dry_run=dry_run, within_s=within_s)
    finally:
        close(providers.values())
    shapes = [shape for shapes in manager.hook.testlab_redactors() for shape in shapes or ()]
    mask = Redactor(frozenset(settings.credentials.values()), shapes).redact_text
    return masked(replace(reaped, skipped={**skipped, **reaped.skipped}), mask)


def made_by(name: str, settings: Settings, environ: Mapping[str, str]) -> Provider:
    """A provider by its name, let in by what the environment holds; raises `UsageError` when it can't be asked."""
    manager = plugin_manager()
    settings = replace(settings, credentials=credentials(manager, environ))
    return _made(settings, offers(manager.hook.testlab_providers()), [name])[0][name]


def _made(
    settings: Settings, offered: Mapping[str, object], only: Iterable[str] | None
) -> tuple[dict[str, Provider], dict[str, str]]:
    providers: dict[str, Provider] = {}
    skipped: dict[str, str] = {}
    for name in sorted(offered) if only is None else dict.fromkeys(only):
        make = pick("provider", name, offered)
        assert callable(make)
        try:
            providers[name] = make(settings)
        except (TestlabError, ImportError, OSError) as error:
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
