"""Makes an attempt's bundle: the sections of its apps, of the target and of the lab itself, read, masked and judged."""

from __future__ import annotations

from collections.abc import Sequence

import pluggy

from pytest_testlab.catalog.attempts import Attempt
from pytest_testlab.catalog.items import UnitState
from pytest_testlab.catalog.several import Labelled, judged, labelled, named, suspects
from pytest_testlab.diagnosis.bundle import diagnose
from pytest_testlab.diagnosis.classify import in_order
from pytest_testlab.diagnosis.collect import RawSection, collect
from pytest_testlab.diagnosis.redact import Redactor
from pytest_testlab.diagnosis.sections import network_probe
from pytest_testlab.diagnosis.suspects import suspect_hosts
from pytest_testlab.errors import BuildFailed, DeadlinePassed, DeployFailed, StepFailed, TestlabError
from pytest_testlab.model import Bundle, Deployment, Section
from pytest_testlab.protocols import Platform, Target
from pytest_testlab.seams import blame

COLLECT_WITHIN_S = 20.0
LOGS_OF_WORK = ("build", "blocks")
"""The sections in which commands of the catalog's authors say why they failed."""


class Bundler:
    """Bundles of one process's attempts: by the platform's sections, and by the plugins' sections and rules."""

    def __init__(self, platform: Platform, hooks: pluggy.PluginManager) -> None:
        self._platform = platform
        self._hooks = hooks
        self._rules = in_order(rule for rules in hooks.hook.testlab_classifiers() for rule in rules or ())

    def collect(
        self, target: Target, attempt: Attempt, state: UnitState, failure: TestlabError | None, redactor: Redactor
    ) -> Bundle:
        """The bundle of an attempt whose work is over; takes `COLLECT_WITHIN_S` at most for each look at the target."""
        attempt.observe.now = "bundle"
        raw = collect(target, self._sections(target, labelled(state.deployments)), deadline_s=COLLECT_WITHIN_S)
        raw = _with_own_record(target, raw, attempt)
        if isinstance(failure, BuildFailed | DeadlinePassed | DeployFailed | StepFailed):
            raw += _ask_the_network(target, raw)
        return self._bundle(attempt, state, failure, raw, redactor)

    def of_record(self, target: Target, attempt: Attempt, state: UnitState, redactor: Redactor) -> Bundle:
        """The bundle of a test that didn't run: what the lab itself took down, and nothing of the target."""
        return self._bundle(attempt, state, None, _with_own_record(target, [], attempt), redactor)

    def _bundle(
        self,
        attempt: Attempt,
        state: UnitState,
        failure: TestlabError | None,
        raw: Sequence[RawSection],
        redactor: Redactor,
    ) -> Bundle:
        item = attempt.item

        def about(raw: Sequence[RawSection], deployment: Deployment | None = None) -> Bundle:
            return diagnose(
                entry=item.subject.name if deployment is None else deployment.app.name,
                stage=item.stage,
                failure=failure,
                has_app=item.has_app,
                static=item.static if deployment is None else deployment.app.entry.static is not None,
                raw=raw,
                redactor=redactor,
                rules=self._rules,
            )

        apps = suspects(state)
        return about(raw) if failure is None or not apps else judged(raw, apps, about)

    def _sections(self, target: Target, apps: Sequence[Labelled]) -> list[Section]:
        """Those of each app's platform, and those of the target, which plugins give for the first app."""
        sections = [section for label, app in apps for section in named(self.of_platform(target, app), label)]
        first = apps[0][1] if apps else None
        try:
            offered = self._hooks.hook.testlab_sections(target=target, deployment=first)
            return sections + [section for more in offered for section in more or ()]
        except Exception as error:  # noqa: BLE001 - a plugin that is broken must not cost a bundle its other sections
            why = blame("a plugin's testlab_sections", error)
            return [*sections, Section(name="plugins", source="testlab_sections", absent=why)]

    def of_platform(self, target: Target, deployment: Deployment) -> list[Section]:
        """What the platform shows of an app; where it fails at that, the section says so."""
        try:
            probe = self._platform.probe(target, deployment)
            return [*self._platform.sections(target, deployment), probe]
        except Exception as error:  # noqa: BLE001 - as above: an outcome without a record would be lost
            why = blame(f"the platform {self._platform.name}", error, self._platform)
            return [Section(name="proxy-probe", source=self._platform.name, absent=why)]


def _ask_the_network(target: Target, raw: Sequence[RawSection]) -> list[RawSection]:
    """Whether the hosts that a log of work complains of answer: it may suspect, only a probe can confirm."""
    hosts = [host for section in raw if section.name in LOGS_OF_WORK for host in suspect_hosts(section.text)]
    return collect(target, [network_probe(hosts)], deadline_s=COLLECT_WITHIN_S) if hosts else []


def _with_own_record(target: Target, raw: Sequence[RawSection], attempt: Attempt) -> list[RawSection]:
    """Add what the lab itself took down, in place of sections that the target couldn't give any more."""
    own = {section.name: section for section in collect(target, attempt.observe.sections(), deadline_s=1)}
    had = [own.pop(section.name, section) if section.absent is not None else section for section in raw]
    names = {section.name for section in had}
    rest = [section for name, section in own.items() if name not in names]
    return had + rest if attempt.item.has_app else rest + had  # what speaks for itself comes first
