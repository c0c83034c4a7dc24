"""Signs up, publishes a package as npm would, and fetches it from the address that the registry itself gives."""

import base64
import hashlib
import io
import json
import os
import tarfile
import urllib.error
import urllib.request

URL = os.environ["APP_URL"]
NAME, VERSION = "testlab-greeting", "1.2.0"
MANIFEST = {"name": NAME, "version": VERSION, "main": "index.js", "license": "MIT"}


def tarball() -> bytes:
    packed = io.BytesIO()
    files = {"package.json": json.dumps(MANIFEST), "index.js": "module.exports = (name) => `Good morning, ${name}`\n"}
    with tarfile.open(fileobj=packed, mode="w:gz") as archive:
        for name, text in files.items():
            member = tarfile.TarInfo(f"package/{name}")
            member.size = len(text.encode())
            archive.addfile(member, io.BytesIO(text.encode()))
    return packed.getvalue()


def ask(method: str, address: str, data: object = None, token: str | None = None) -> tuple[int, bytes]:
    headers = {"Content-Type": "application/json", **({"Authorization": f"Bearer {token}"} if token else {})}
    body = None if data is None else json.dumps(data).encode()
    try:
        with urllib.request.urlopen(urllib.request.Request(address, body, headers, method=method), timeout=30) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        return error.code, error.read()


made = tarball()
integrity = "sha512-" + base64.b64encode(hashlib.sha512(made).digest()).decode()
file = f"{NAME}-{VERSION}.tgz"
dist = {"integrity": integrity, "shasum": hashlib.sha1(made).hexdigest(), "tarball": f"{URL}/{NAME}/-/{file}"}
document = {
    "_id": NAME,
    "name": NAME,
    "dist-tags": {"latest": VERSION},
    "versions": {VERSION: {**MANIFEST, "_id": f"{NAME}@{VERSION}", "dist": dist}},
    "_attachments": {
        file: {
            "content_type": "application/octet-stream",
            "data": base64.b64encode(made).decode(),
            "length": len(made),
        }
    },
}

status, said = ask("PUT", f"{URL}/{NAME}", document)
assert status in (401, 403), f"a stranger's package got {status}: {said[:300]!r}"

user = {"name": "publisher", "password": os.environ["PUBLISHER_PASSWORD"]}
status, said = ask("PUT", f"{URL}/-/user/org.couchdb.user:publisher", user)
assert status == 201, f"signing up got {status}: {said[:300]!r}"
status, said = ask("PUT", f"{URL}/{NAME}", document, json.loads(said)["token"])
assert status == 201, f"publishing got {status}: {said[:300]!r}"

status, said = ask("GET", f"{URL}/{NAME}")
assert status == 200, f"the package's page got {status}: {said[:300]!r}"
kept = json.loads(said)["versions"][VERSION]["dist"]
assert kept["integrity"] == integrity, f"the integrity came back as {kept['integrity']}"
assert kept["tarball"].startswith(URL + "/"), f"the registry gives an address that is not its own: {kept['tarball']}"

status, fetched = ask("GET", kept["tarball"])
assert (status, fetched) == (200, made), f"the tarball came back changed: {status}, {len(fetched)} bytes"
with tarfile.open(fileobj=io.BytesIO(fetched)) as archive:
    print("published and fetched:", ", ".join(archive.getnames()))
