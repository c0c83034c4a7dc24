"""Logs without a secret in them, as many programs write them; also what the benchmark of masking reads."""

from __future__ import annotations

import base64
import json
import random
import string
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

_WORDS = """
the app server worker request connection cache table migration schema index session user page item order
report folder value config frame timeout handler queue job module package version build layer image router
plugin task widget stream buffer loader parser writer reader filter header footer column thread signal
socket kernel volume
"""
WORDS = _WORDS.split()
Writer = Callable[[random.Random, int], str]


def _hex(rng: random.Random, length: int) -> str:
    return "".join(rng.choices("0123456789abcdef", k=length))


def _base64(rng: random.Random, length: int) -> str:
    return base64.b64encode(rng.randbytes(length)).decode()


def _clock(n: int) -> str:
    return f"{n // 3600 % 24:02}:{n // 60 % 60:02}:{n % 60:02}"


def _name(rng: random.Random) -> str:
    return rng.choice(WORDS) + rng.choice("-_.") + rng.choice(WORDS)


def journal(rng: random.Random, n: int) -> str:
    """systemd's log."""
    say = rng.choice(
        (
            f"Started {_name(rng)}.service - {rng.choice(WORDS).title()} {rng.choice(WORDS)}.",
            f"pam_unix(sshd:session): session opened for user app(uid={n % 2000}) by (uid=0)",
            f"Accepted publickey for app from 10.0.{n % 250}.7 port {40000 + n % 9999} ssh2: ED25519 "
            f"SHA256:{_base64(rng, 32)[:43]}",
            f'audit: type=1400 apparmor="STATUS" operation="profile_load" name="/usr/bin/{_name(rng)}" pid={n}',
            "Failed password for invalid user admin from 10.0.0.9 port 4711 ssh2",
            "Reached target Local Encrypted Volumes; no key file was asked for.",
        )
    )
    return f"Nov 21 {_clock(n)} host {rng.choice(WORDS)}[{n % 30000}]: {say}"


def access(rng: random.Random, n: int) -> str:
    """nginx."""
    path = f"/{rng.choice(WORDS)}/{n}?page={n % 50}&sort=name%20asc" if n % 3 else f"/static/app.{_hex(rng, 20)}.js"
    return (
        f'10.0.{n % 250}.{n % 199} - - [21/Nov/2026:{_clock(n)} +0000] "GET {path} HTTP/1.1" {rng.choice((200, 404))} '
        f'{n % 90000} "https://example.org/{rng.choice(WORDS)}" "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/2010"'
    )


def pip(rng: random.Random, n: int) -> str:
    """pip."""
    name = _name(rng)
    return rng.choice(
        (
            f"Collecting {name}=={n % 9}.{n % 30}.{n % 7} (from -r requirements.txt (line {n % 90}))",
            f"  Downloading {name}-{n % 9}.{n % 30}-py3-none-any.whl.metadata ({n % 90}.{n % 9} kB)",
            f"    --hash=sha256:{_hex(rng, 64)} \\",
            f"  Created wheel for {name}: filename={name}.whl size={n} sha256={_hex(rng, 64)}",
            f"  Stored in directory: /home/app/.cache/pip/wheels/{_hex(rng, 2)}/{_hex(rng, 2)}/{_hex(rng, 60)}",
        )
    )


def npm(rng: random.Random, n: int) -> str:
    """npm, and its lock files."""
    return rng.choice(
        (
            f'      "integrity": "sha512-{_base64(rng, 64)}",',
            f'      "resolved": "https://npm.example.org/{_name(rng)}/-/{_name(rng)}-{n % 9}.{n % 20}.1.tgz",',
            f"npm http fetch GET 200 https://npm.example.org/@types%2f{rng.choice(WORDS)} {n % 900}ms (cache miss)",
            f"npm warn deprecated {_name(rng)}@{n % 5}.0.1: This package is no longer supported",
            f"added {n % 900} packages, and audited {n % 900} packages in {n % 20}s",
        )
    )


def traceback(rng: random.Random, n: int) -> str:
    """Python."""
    return rng.choice(
        (
            "Traceback (most recent call last):",
            f'  File "/srv/app/{rng.choice(WORDS)}/{rng.choice(WORDS)}.py", line {n % 900}, in {rng.choice(WORDS)}',
            f"    return self.{rng.choice(WORDS)}({rng.choice(WORDS)}, password=self.password, token=token)",
            f"    if not check_{rng.choice(WORDS)}(request.headers['Authorization'], settings.SECRET_KEY):",
            "    secret_key = os.environ.get('SECRET_KEY') or config['secret_key']",
            f"KeyError: '{_name(rng)}'",
            "ValueError: invalid token: unexpected end of input",
        )
    )


SPEAKING = {"tokens_used": 712, "token_type": "bearer", "password_changed_at": None, "key": "user-7"}


def structured(rng: random.Random, n: int) -> str:
    """JSON, a line each."""
    return json.dumps(
        {
            "ts": f"2026-11-21T{_clock(n)}.{n % 1000:03}Z",
            "level": rng.choice(("info", "debug", "warn")),
            "request_id": str(uuid.UUID(int=rng.getrandbits(128))),
            "trace": _hex(rng, 32),
            "msg": f'{rng.choice(WORDS)} "{rng.choice(WORDS)}" {rng.choice(WORDS)}\n\t{rng.choice(WORDS)}',
            "took_ms": n % 4000,
            "item": _name(rng),
            **(SPEAKING if n % 8 == 0 else {}),
        }
    )


def sql(rng: random.Random, n: int) -> str:
    """SQLAlchemy's echo."""
    table = rng.choice(WORDS)
    return rng.choice(
        (
            f"SELECT {table}.id, {table}.password_hash FROM {table} WHERE {table}.id = %(id_1)s",  # noqa: S608
            f"[generated in 0.00{n % 99}s] {{'id_1': {n}, 'limit': 50}}",
            f"CREATE UNIQUE INDEX ix_{table}_token ON {table} (token_id, secret_id)",
            f"INSERT INTO {table} (uuid) VALUES ('{uuid.UUID(int=rng.getrandbits(128))}')",  # noqa: S608
        )
    )


def docker(rng: random.Random, n: int) -> str:
    """Layers, digests, commits."""
    return rng.choice(
        (
            f"{_hex(rng, 12)}: Pull complete",
            f"Digest: sha256:{_hex(rng, 64)}",
            f" ---> Running in {_hex(rng, 12)}",
            f"HEAD is now at {_hex(rng, 9)} Read the {rng.choice(WORDS)} from {_name(rng)}",
            f"commit {_hex(rng, 40)}",
            f"#{n % 30} {n % 90}.{n % 9} Get:{n % 90} http://deb.example.org {_name(rng)} amd64 1.{n % 9}",
        )
    )


def images(rng: random.Random, n: int) -> str:
    """Pictures in pages, and attachments."""
    return rng.choice((f'<img src="data:image/png;base64,{_base64(rng, 300)}">', _base64(rng, 57)))


def prose(rng: random.Random, n: int) -> str:
    """What people and programs say of secrets without telling any."""
    return rng.choice(
        (
            f"The {rng.choice(WORDS)} token has expired; ask for a new one at https://example.org/{rng.choice(WORDS)}",
            "password: incorrect for user admin",
            f"INFO token refreshed for session {n}; key cache holds {n % 99} entries",
            f"WARN password authentication is off, secrets are read from {_name(rng)}",
            f"{n % 70} passed, {n % 3} failed in {n % 90}.{n % 9}s",
            f"ssl_certificate_key /etc/ssl/private/{rng.choice(WORDS)}.pem;",
        )
    )


WRITERS: dict[str, Writer] = {
    writer.__name__: writer for writer in (journal, access, pip, npm, traceback, structured, sql, docker, images, prose)
}
SHARES = {"journal": 4, "access": 6, "structured": 3, "traceback": 1, "images": 1, "prose": 1}
"""How many times a kind comes up for once that the others do, in a text of all kinds."""


def logs(kind: str, size: int, seed: int = 4) -> bytes:
    """About `size` bytes of one kind."""
    rng = random.Random(f"{seed} {kind}")
    return _text(lambda n: WRITERS[kind](rng, n), size)


def mixed(size: int, seed: int = 4) -> bytes:
    """About `size` bytes of all kinds, twenty lines of one after the other."""
    rng = random.Random(seed)
    kinds = [kind for kind in WRITERS for _ in range(SHARES.get(kind, 2))]
    lines: list[str] = []
    length = n = 0
    while length < size:
        writer = WRITERS[rng.choice(kinds)]
        for _ in range(20):
            n += 1
            lines.append(writer(rng, n))
            length += len(lines[-1]) + 1
    return "\n".join(lines).encode()


def _text(line: Callable[[int], str], size: int) -> bytes:
    lines: list[str] = []
    length = 0
    while length < size:
        lines.append(line(len(lines) + 1))
        length += len(lines[-1]) + 1
    return "\n".join(lines).encode()


def of_this_machine(most: int = 3_000_000) -> Iterator[tuple[str, bytes]]:
    """Real text, where there is any."""
    places = ("/var/log/dpkg.log", "/var/log/apt/*.log", "/usr/share/doc/*/copyright", "/usr/share/doc/*/*.md")
    places = (*places, "/usr/share/nodejs/*/package.json", "/usr/lib/python3*/*.py", "/etc/*.conf")
    for pattern in places:
        left = most // len(places)
        for path in sorted(Path("/").glob(pattern[1:])):
            if left > 0 and path.is_file():
                try:
                    data = path.read_bytes()[:left]
                except OSError:  # another account's
                    continue
                left -= len(data)
                yield str(path), data


def some_secrets(count: int, seed: int = 7) -> list[str]:
    """Values as a lab is given them: tokens, passwords, and one key of several lines."""
    rng = random.Random(seed)
    letters = string.ascii_letters + string.digits
    lengths = [40, 32, 64, 24, 16, 12, 20, 36, 48, 14]
    values = ["".join(rng.choices(letters, k=lengths[n % len(lengths)])) for n in range(count - 1)]
    key = "\n".join("".join(rng.choices(letters, k=64)) for _ in range(26))
    return [*values, f"-----BEGIN PRIVATE KEY-----\n{key}\n-----END PRIVATE KEY-----"]
