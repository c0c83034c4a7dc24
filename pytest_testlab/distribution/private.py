"""Every private name of pytest-xdist and pytest that the lab leans on, in one place.

tests/b_integration/test_xdist_canary.py says which of them a new release took away.
"""

from __future__ import annotations

import contextlib
import io
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from typing import Any

import psutil
import pytest
from _pytest._io import TerminalWriter
from _pytest.runner import runtestprotocol

EVENT = "testlab"
_NOWHERE = TerminalWriter(file=io.StringIO())
Handler = Callable[..., None]


# --- in the controller ------------------------------------------------------------------------------------------------


def spread(config: pytest.Config, workers: int) -> None:
    """Make this session a distributed one; only before xdist's own `pytest_configure`."""
    config.option.numprocesses = workers
    config.option.tx = ["popen"] * workers
    config.option.dist = "load"


def listen(config: pytest.Config, handler: Handler) -> Callable[..., None]:
    """Have xdist's event loop call `handler(**kwargs)` on our own events; returns the function that posts one.

    Posting is safe from any thread; the handler runs where xdist's own do, one event at a time.
    """
    dsession = config.pluginmanager.getplugin("dsession")
    assert dsession is not None
    setattr(dsession, f"worker_{EVENT}", handler)

    def post(**kwargs: Any) -> None:
        dsession.queue.put((EVENT, kwargs))

    return post


def hear(node: Any) -> None:
    """Let a worker's own events through; only from `pytest_configure_node`, before xdist listens to the worker."""
    original = node.process_from_remote
    node.testlab_heard = time.monotonic()
    node.testlab_beats = False

    def process(eventcall: Any) -> None:
        # On execnet's own thread, so that a controller that is busy doesn't take a worker for hung.
        node.testlab_heard = time.monotonic()
        if isinstance(eventcall, tuple) and eventcall[0] == EVENT:
            node.testlab_beats = True
            node.putevent((EVENT, {"node": node, **eventcall[1]}))
        else:
            original(eventcall)

    node.process_from_remote = process


def command(node: Any, name: str, **kwargs: Any) -> None:
    """Send a worker a command. One that has just died gets none: xdist hears of its end in its own time."""
    with contextlib.suppress(OSError):
        node.sendcommand(name, **kwargs)


def silent_s(node: Any) -> float:
    """Seconds since a worker was last heard of."""
    return time.monotonic() - float(node.testlab_heard)


def beats(node: Any) -> bool:
    """Whether a worker has begun to say that it lives: it does so from the end of its collection on."""
    return bool(node.testlab_beats)


def kill(node: Any, number: signal.Signals = signal.SIGKILL) -> None:
    """Send a signal to a worker's process; gone already = done."""
    process = node.gateway._io.popen
    if process.poll() is None:
        with contextlib.suppress(ProcessLookupError):  # execnet waits for it as well, on a thread of its own
            os.kill(process.pid, number)


def ended_in_order(node: Any) -> bool:
    """Whether a worker that is gone had finished its session."""
    return hasattr(node, "workeroutput")


def how_it_ended(node: Any) -> str:
    """In words, how a worker's process ended; waits a moment for it, since its line ends first."""
    try:
        code = node.gateway._io.popen.wait(timeout=2)
    except subprocess.TimeoutExpired:
        return "its line broke"
    if code >= 0:
        return f"exit code {code}"
    return f"killed by {signal.Signals(-code).name}" if -code in set(signal.Signals) else f"killed by signal {-code}"


def is_stopped(node: Any) -> bool:
    """Whether somebody stopped a worker's process (SIGSTOP, a debugger)."""
    try:
        status = psutil.Process(node.gateway._io.popen.pid).status()
    except psutil.Error:
        return False
    return status in (psutil.STATUS_STOPPED, psutil.STATUS_TRACING_STOP)


def kill_all(config: pytest.Config) -> None:
    """Kill every worker that is still there."""
    for node in list(config.pluginmanager.getplugin("dsession")._active_nodes):
        kill(node)


def stop(config: pytest.Config, reason: str) -> None:
    """End a distributed session as interrupted, once its workers are down; none is replaced any more."""
    dsession = config.pluginmanager.getplugin("dsession")
    dsession.shouldstop = reason
    dsession._max_worker_restart = 0


def enough_failures(config: pytest.Config) -> bool:
    """Whether `-x` or `--maxfail` ended the session."""
    dsession = config.pluginmanager.getplugin("dsession")
    return bool(dsession.maxfail and dsession.countfailures >= dsession.maxfail)


def stderr(config: pytest.Config) -> int:
    """The descriptor of standard error as it is outside, also while pytest captures it."""
    capturing = getattr(config.pluginmanager.getplugin("capturemanager"), "_global_capturing", None)
    return int(getattr(getattr(capturing, "err", None), "targetfd_save", 2))


def only_our_lines(reporter: Any) -> None:
    """Keep pytest's terminal from printing files' names and percentages between the lab's own lines."""
    reporter.showfspath = False
    reporter._show_progress_info = False


def no_status_of_workers(config: pytest.Config) -> None:
    """Keep xdist from rewriting a line about its workers, where something else shows what targets do."""
    reporter = config.pluginmanager.getplugin("terminaldistreporter")
    if reporter is not None:
        reporter.rewrite = lambda line, newline=False: None


def has_descriptor(reporter: Any) -> bool:
    """Whether pytest's terminal is a file of the system, and not one in memory."""
    try:
        return int(reporter._tw._file.fileno()) >= 0
    except (AttributeError, OSError, ValueError):
        return False


def not_again_at_the_end(report: Any) -> None:
    """Keep a report from pytest's FAILURES and ERRORS: it leaves out what a debugger has shown already."""
    report._pdbshown = True


@contextlib.contextmanager
def unsaid(reporter: Any | None) -> Iterator[None]:
    """Have pytest's terminal write to nowhere meanwhile; None = let it write."""
    if reporter is None:
        yield
        return
    before = reporter._tw, reporter.currentfspath
    reporter._tw = _NOWHERE
    try:
        yield
    finally:
        reporter._tw, reporter.currentfspath = before


# --- in a worker ------------------------------------------------------------------------------------------------------


def interactor(config: pytest.Config) -> Any:
    """Xdist's side of the line in a worker."""
    return next(plugin for plugin in config.pluginmanager.get_plugins() if type(plugin).__name__ == "WorkerInteractor")


def receive(worker: Any, put: Callable[[tuple[str, dict[str, Any]] | None], None]) -> None:
    """Hand each command of the controller to `put`; None is the end of the line. Called on execnet's thread."""
    worker.channel.setcallback(put, endmarker=None)


def send(worker: Any, kind: str, **kwargs: Any) -> None:
    """Send an event of our own to the controller; builtins only."""
    worker.sendevent(EVENT, kind=kind, **kwargs)


def run_one(worker: Any, index: int, item: pytest.Item, nextitem: pytest.Item, seconds: Callable[[], float]) -> None:
    """Run one test as xdist would, but without holding a further one in the hand."""
    worker.item_index = index
    start = seconds()
    item.config.hook.pytest_runtest_protocol(item=item, nextitem=nextitem)
    worker.sendevent("runtest_protocol_complete", item_index=index, duration=seconds() - start)


def run_phases(item: pytest.Item, nextitem: pytest.Item | None) -> None:
    """Set up, call and tear down a test, with its reports, as pytest does."""
    runtestprotocol(item, nextitem=nextitem)


class _Sentinel(pytest.Item):
    """Stands for "no next test is known yet": its parent is the session, so session fixtures survive it."""

    def runtest(self) -> None:
        raise AssertionError("the sentinel is never run")


def sentinel(session: pytest.Session) -> pytest.Item:
    """The next item to name when none is known yet."""
    return _Sentinel.from_parent(session, name="testlab-no-next-item")


def tear_down(session: pytest.Session, nextitem: pytest.Item | None = None) -> None:
    """Tear down whatever is still set up and the next item doesn't need."""
    session._setupstate.teardown_exact(nextitem)
