"""Asks the API: what passes is tried again until a deadline, whatever else goes wrong is told in the lab's words."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from http import HTTPStatus
from typing import TYPE_CHECKING, TypeVar

from pytest_testlab.errors import InfraError, beginning, one_line
from testlab_hetzner.quota import Quota
from testlab_hetzner.times import Times

if TYPE_CHECKING:
    import hcloud

T = TypeVar("T")
PASSING = frozenset(
    {"locked", "conflict", "rate_limit_exceeded", "unavailable", "server_error", "service_error", "timeout"}
    | {"bad_gateway", "maintenance", "robot_unavailable", "uncaught_error"}
)
"""Refusals that pass by themselves; HTTP's own numbers from 500 on do, too."""
UNDONE = frozenset({"locked", "conflict", "rate_limit_exceeded"})
"""Those after which it is known that nothing was done."""
TELLS = 300
"""Characters of what the API says."""


class Refused(InfraError):
    """The API said no; `code` is its own word for why."""

    def __init__(self, what: str, code: str, say: str) -> None:
        super().__init__(f"{what}: the API refused: {say} ({code})")
        self.code = code
        self.say = say


class Unanswered(InfraError):
    """No answer came, or none that can be read: it may have been done or not."""


class Cloud:
    """The API of one project. From any thread: each has a client of its own, all share the quota."""

    def __init__(self, endpoint: str, token: Callable[[], str], times: Times) -> None:
        """`token` is called when it is first needed, and may raise."""
        self.times = times
        self._endpoint = endpoint
        self._token = token
        self._secret = ""
        self._quota = Quota()
        self._own = threading.local()

    def ask(
        self,
        what: str,
        work: Callable[[hcloud.Client], T],
        *,
        urgent: bool = False,
        once: bool = False,
        within_s: float | None = None,
    ) -> T:
        """What `work` returns; `what` says to people what it does. Raises `Refused`, `Unanswered`, `InfraError`.

        `urgent` may use what is kept of the quota. `once`: not to be repeated unless it is known not to have been done.
        """
        deadline = time.monotonic() + (self.times.call if within_s is None else within_s)
        pause = self.times.pause
        while True:
            self._quota.take(urgent=urgent, within_s=max(0.0, deadline - time.monotonic()))
            try:
                return self._try(what, work)
            except Refused as refused:
                passing = UNDONE if once else PASSING
                over, failure = refused.code not in passing and (once or not refused.code.startswith("5")), refused
            except Unanswered as unanswered:
                over, failure = once, unanswered  # type: ignore[assignment]
            if over or time.monotonic() + pause >= deadline:
                raise failure
            time.sleep(pause)
            pause = min(2 * pause, self.times.longest_pause)

    def mask(self, text: str) -> str:
        """Without the token, in one line, and bounded."""
        text = text.replace(self._secret, "***") if self._secret else text
        return beginning(one_line(" ".join(text.split())), TELLS)

    def _try(self, what: str, work: Callable[[hcloud.Client], T]) -> T:
        import hcloud
        import requests

        client = self._client()
        failure: InfraError
        try:
            return work(client)
        except hcloud.APIException as error:
            failure = self._refused(what, error.code, str(error.message))
        except requests.RequestException as error:
            failure = Unanswered(f"{what}: no answer from the API: {self.mask(f'{type(error).__name__}: {error}')}")
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            failure = Unanswered(
                f"{what}: the API's answer can't be read: {self.mask(f'{type(error).__name__}: {error}')}"
            )
        raise failure  # outside, so that no exception of theirs with its request hangs on it

    def _refused(self, what: str, code: int | str, message: str) -> InfraError:
        if isinstance(code, int) and code < HTTPStatus.BAD_REQUEST:
            return Unanswered(f"{what}: the API's answer can't be read: {code} {self.mask(message)}")
        return Refused(what, str(code), self.mask(message))

    def _client(self) -> hcloud.Client:
        from testlab_hetzner.wire import client

        found: hcloud.Client | None = getattr(self._own, "client", None)
        if found is None:
            self._secret = self._token()
            found = self._own.client = client(self._endpoint, self._secret, self.times, self._quota.heard)
        return found
