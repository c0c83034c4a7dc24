"""Marker secrets, everything that they may look like, and the places to look for them when a session is over."""

from __future__ import annotations

import base64
import contextlib
import html
import os
import random
import re
import string
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from urllib.parse import unquote_to_bytes

import sqlalchemy as sa
import zstandard
from pages import Lab, logged_in

from pytest_testlab.store.embedded import StoreHandle

LETTERS = string.ascii_letters + string.digits
PIECE = 8
"""So many letters of a random secret in a row are a leak."""


def token(rng: random.Random, length: int = 40, also: str = "") -> str:
    """A random secret; `also` are letters of another kind, strewn in."""
    letters = rng.choices(LETTERS, k=length)
    for letter in also:
        letters.insert(rng.randrange(1, length), letter)
    return "".join(letters)


def pem(rng: random.Random) -> str:
    """A private key, or what looks like one."""
    lines = ("".join(rng.choices(LETTERS, k=64)) for _ in range(6))
    return "\n".join(("-----BEGIN PRIVATE KEY-----", *lines, "-----END PRIVATE KEY-----"))


class Leaks:
    """Looks for markers in bytes: as they are, in pieces, and in whatever can be decoded to them."""

    def __init__(self, markers: Mapping[str, str]) -> None:
        self.markers = dict(markers)
        self._seen: dict[bytes, frozenset[str]] = {}
        self._faces = {name: sorted(_faces(value)) for name, value in markers.items()}

    def add(self, name: str, value: str) -> None:
        self.markers[name] = value
        self._faces[name] = sorted(_faces(value))

    def found_in(self, data: bytes) -> frozenset[str]:
        """The names of the markers that are there."""
        if data not in self._seen:  # a section is shown on several pages
            self._seen[data] = frozenset(self._look(data))
        return self._seen[data]

    def _look(self, data: bytes) -> set[str]:
        views = {data, *_undone(data)}
        views |= {re.sub(rb"[\s|]+", b"", view) for view in tuple(views)}
        return {name for name, faces in self._faces.items() if any(face in view for face in faces for view in views)}


def _faces(value: str) -> set[bytes]:
    """Pieces of a value: plain, in base64 at three alignments, and in hex."""
    found: set[bytes] = set()
    for line in value.splitlines():
        if line.startswith("-----"):
            continue
        raw = line.encode()
        found |= {raw[at : at + PIECE] for at in range(0, len(raw) - PIECE + 1, 2) if raw[at : at + PIECE].isalnum()}
        for code in (base64.b64encode, base64.urlsafe_b64encode):
            for offset in range(3):
                text = code(b"\0" * offset + raw)[4:-4]
                found |= {text[at : at + 12] for at in range(0, len(text) - 11, 4)}
        for text in (raw.hex().encode(), raw.hex().upper().encode()):
            found |= {text[at : at + 16] for at in range(0, len(text) - 15, 16)}
    return found


def _undone(data: bytes) -> Iterator[bytes]:
    text = data.decode("latin-1")
    yield unquote_to_bytes(data)
    yield html.unescape(text).encode("utf-8", "replace")
    yield re.sub(r"\\u00([0-9a-fA-F]{2})", lambda match: chr(int(match[1], 16)), text).encode("latin-1", "replace")
    yield re.sub(r"\\x([0-9a-fA-F]{2})", lambda match: chr(int(match[1], 16)), text).encode("latin-1", "replace")
    yield text.replace("\\n", "").replace("\\", "").encode("latin-1")


class Watch:
    """Looks at the command line and the environment of every process of this machine, while it is entered."""

    def __init__(self, leaks: Leaks) -> None:
        self._raw = {
            name: value.splitlines()[-1 if "\n" not in value else 1].encode() for name, value in leaks.markers.items()
        }
        self.arguments: set[str] = set()
        """`marker in the command line of …`"""
        self.environments: dict[str, set[str]] = {}
        """Marker → whose environment holds it: `controller`, `app NAME`, `script`, or the command line."""
        self.generated: dict[str, str] = {}
        """NAME of an app → what it was given as GENERATED and DATABASE_URL."""
        self.seen = 0
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> Watch:
        self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._over.set()
        self._thread.join()

    def _watch(self) -> None:
        known: dict[str, bytes] = {}
        while not self._over.wait(0.05):
            for pid in filter(str.isdecimal, os.listdir("/proc")):  # noqa: PTH208 - three times quicker
                with contextlib.suppress(OSError):
                    arguments = Path(f"/proc/{pid}/cmdline").read_bytes()
                    if known.get(pid) != arguments:
                        known[pid] = arguments
                        self._look(arguments, Path(f"/proc/{pid}/environ").read_bytes())

    def _look(self, arguments: bytes, environ: bytes) -> None:
        self.seen += 1
        self.arguments |= {f"{name} in {arguments!r}" for name, raw in self._raw.items() if raw in arguments}
        variables = dict(pair.split(b"=", 1) for pair in environ.split(b"\0") if b"=" in pair)
        who = _who(variables, arguments)
        for name, raw in self._raw.items():
            if raw in environ:
                self.environments.setdefault(name, set()).add(who)
        if who.startswith("app "):
            for key in (b"GENERATED", b"DATABASE_URL"):
                if key in variables:
                    self.generated[f"{who[4:]} {key.decode()}"] = variables[key].decode()


def _who(variables: Mapping[bytes, bytes], arguments: bytes) -> str:
    if b"LEAKS_CONTROLLER" in variables and b"TESTLAB_DATABASE_URL" in variables:
        return "controller"
    if b"TESTLAB_DEPLOY" in variables and b"ENTRY" in variables:
        return f"app {variables[b'ENTRY'].decode()}"
    if b"TESTLAB_CHECK" in variables:
        return f"script {variables.get(b'ENTRY', b'?').decode()}"
    return repr(arguments[:200])


def files_below(folder: Path) -> Iterator[tuple[str, bytes]]:
    """Every regular file, and every name."""
    for path in sorted(folder.rglob("*")):
        yield f"the name {path}", str(path.relative_to(folder)).encode()
        if path.is_file() and not path.is_symlink():
            yield str(path), path.read_bytes()


def store_dump(store: StoreHandle) -> Iterator[tuple[str, bytes]]:
    """Every row of every table as text, and every section of every bundle."""
    with store.engine.connect() as connection:
        tables = connection.execute(
            sa.text("SELECT format('%I.%I', schemaname, tablename) FROM pg_tables WHERE schemaname = 'public'")
        ).scalars()
        for table in tables:
            for row in connection.execute(sa.text(f"SELECT t::text FROM {table} t")):  # noqa: S608 - PostgreSQL's own names
                yield table, row[0].encode()
        for (data,) in connection.execute(sa.text("SELECT data FROM bundle")):
            yield "a bundle", b"".join(_frames(bytes(data)))


def _frames(data: bytes) -> Iterator[bytes]:
    while data:
        frame = zstandard.ZstdDecompressor().decompressobj()
        yield frame.decompress(data)
        data = frame.unused_data


def pages(store: StoreHandle, most: int = 2_000) -> Iterator[tuple[str, bytes]]:
    """Every page that can be reached by links from the first."""
    client = logged_in(Lab(store))
    todo, seen = ["/", "/runs", "/tests"], set()
    while todo and len(seen) < most:
        path = todo.pop()
        if path in seen:
            continue
        seen.add(path)
        answer = client.get(path, headers={"Host": "127.0.0.1:8410"})
        yield f"{answer.status_code} {path}", answer.data + str(answer.headers).encode()
        links = re.findall(rb'(?:href|src|action)="(/[^"#]*)', answer.data)
        todo += [html.unescape(link.decode()) for link in links if not link.startswith((b"/logout", b"/static"))]
