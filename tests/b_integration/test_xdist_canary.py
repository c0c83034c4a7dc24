"""The private names of xdist and pytest that `distribution/private.py` leans on: which one did a release take away?"""

from __future__ import annotations

import inspect

import pytest
from xdist import dsession, remote, workermanage


@pytest.mark.parametrize("name", ["queue", "shouldstop"])
def test_dsession_sets(name: str) -> None:
    """The controller's loop has its queue, and stops when it is told to."""
    assert f"self.{name}" in inspect.getsource(dsession.DSession)


def test_events_are_dispatched_by_name() -> None:
    """An event `x` is handled by the attribute `worker_x` of the distributed session."""
    assert '"worker_" + callname' in inspect.getsource(dsession.DSession.loop_once)


def test_the_line_is_heard_through_an_attribute() -> None:
    """A worker's messages go through `process_from_remote`, looked up after `pytest_configure_node`."""
    source = inspect.getsource(workermanage.WorkerController.setup)
    assert source.index("pytest_configure_node") < source.index("setcallback(self.process_from_remote")


def test_the_interactor_reports_by_item_index() -> None:
    """Reports carry the index of the item that the loop said it runs."""
    assert "self.item_index" in inspect.getsource(remote.WorkerInteractor.pytest_runtest_logreport)
    assert set(inspect.signature(remote.WorkerInteractor.sendevent).parameters) >= {"name"}


def test_completion_is_an_event_of_its_own() -> None:
    """The scheduler hears of a finished test by `runtest_protocol_complete`."""
    parameters = inspect.signature(dsession.DSession.worker_runtest_protocol_complete).parameters
    assert {"node", "item_index", "duration"} <= set(parameters)


def test_the_setup_state_tears_down_to_nothing() -> None:
    """pytest tears everything down when no next item is named."""
    from _pytest.runner import SetupState

    assert "nextitem" in inspect.signature(SetupState.teardown_exact).parameters


def test_a_functions_fixtures_are_finalizers_after_its_own() -> None:
    """A platform test's fixtures are ended one by one; the first finalizer of an item is its own teardown."""
    from _pytest.runner import SetupState

    assert "self.stack[col] = ([col.teardown], None)" in inspect.getsource(SetupState.setup)


def test_an_xfail_mark_is_known_when_the_test_runs() -> None:
    """`xfail` is read once its marks were evaluated, before the test is called."""
    from _pytest import skipping

    assert "item.stash[xfailed_key]" in inspect.getsource(skipping.pytest_runtest_setup)
