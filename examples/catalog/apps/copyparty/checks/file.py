"""Uploads two megabytes, fetches them whole and in part, and deletes them; nobody else may read or write there."""

import hashlib
import os
import urllib.error
import urllib.request

URL = os.environ["APP_URL"] + "/inbox/holiday.bin"
CONTENT = b"".join(hashlib.sha256(n.to_bytes(4, "big")).digest() for n in range(65_536))
GUEST = {"PW": os.environ["GUEST_PASSWORD"]}


def ask(method: str, body: bytes | None = None, **headers: str) -> tuple[int, bytes]:
    try:
        with urllib.request.urlopen(urllib.request.Request(URL, body, headers, method=method), timeout=30) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        return error.code, error.read()


refused = ask("PUT", b"not welcome")[0]
assert refused in (401, 403), f"an upload without a password got {refused}"
status, said = ask("PUT", CONTENT, **GUEST)
assert status in (200, 201), f"the upload got {status}: {said[:300]!r}"
assert ask("GET")[0] in (401, 403), "a stranger can read the inbox"

status, whole = ask("GET", **GUEST)
assert (status, whole) == (200, CONTENT), f"the file came back changed: {status}, {len(whole)} bytes"
status, part = ask("GET", Range="bytes=1000000-1000099", **GUEST)
assert (status, part) == (206, CONTENT[1_000_000:1_000_100]), f"a part came back wrong: {status}, {len(part)} bytes"

assert ask("DELETE", **GUEST)[0] == 200, "the file can't be deleted"
assert ask("GET", **GUEST)[0] == 404, "the file is still there after it was deleted"
print(f"{len(CONTENT)} bytes came back unchanged, whole and in part")
