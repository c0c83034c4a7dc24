"""Asks an app through the front door and takes down each request and its answer in the section `http`."""

from __future__ import annotations

from collections.abc import Mapping

from pytest_testlab.errors import NoAnswer
from pytest_testlab.protocols import HttpAnswer, HttpClient, Observer

BODY_BYTES = 2048
"""Of an answer's body, in the transcript."""
GOT_CHARACTERS = 200
"""Of what was got, in a failure's own line."""


class Asker:
    """One client with its transcript. A body is shown once while an app gives the same answer again and again."""

    def __init__(self, client: HttpClient, observe: Observer, *, who: str = "") -> None:
        """`who` stands before each line, where it isn't the lab asking for the app itself."""
        self._client = client
        self._observe = observe
        self._who = who
        self._last: tuple[str, int, bytes] | None = None

    def ask(
        self,
        method: str,
        path: str,
        timeout_s: float,
        *,
        headers: Mapping[str, str] | None = None,
        body: bytes | None = None,
    ) -> HttpAnswer:
        """Ask once, and write it down but for what is sent along; raises `NoAnswer`."""
        try:
            answer = self._client.request(method, path, headers=headers, body=body, timeout_s=timeout_s)
        except NoAnswer as failure:
            self._observe.write("http", f"{self._who}{method} {path} → no answer ({failure.kind}): {failure}\n")
            self._last = None
            raise
        self._observe.write("http", f"{self._who}{method} {path} → {answer.status} in {answer.seconds:.3f} s\n")
        self._show(f"{method} {path}", answer)
        return answer

    def _show(self, request: str, answer: HttpAnswer) -> None:
        shown = answer.body[:BODY_BYTES]
        if (request, answer.status, shown) == self._last:
            return
        self._last = request, answer.status, shown
        for name in ("content-type", "location"):
            if name in answer.headers:
                self._observe.write("http", f"  {name}: {one_line(answer.headers[name])}\n")
        rest = len(answer.body) - len(shown)
        text = shown.decode(errors="replace").rstrip("\n")
        if text:
            indented = "\n".join("  | " + line for line in text.splitlines())
            self._observe.write("http", indented + (f"\n  | [… {rest} bytes more]" if rest else "") + "\n")


def one_line(text: str | bytes, limit: int = GOT_CHARACTERS) -> str:
    """Text as one line of printable characters, shortened at its end."""
    if isinstance(text, bytes):
        text = text[: 4 * limit].decode(errors="replace")
    joined = " ".join("".join(letter if letter.isprintable() else " " for letter in text).split())
    return joined if len(joined) <= limit else joined[: limit - 1] + "…"
