"""Uploads a wheel as twine would, then lets pip install it from the server's own index, and imports it."""

import base64
import hashlib
import io
import os
import subprocess
import sys
import tempfile
import urllib.error
import urllib.parse
import urllib.request
import zipfile

URL = os.environ["APP_URL"]
NAME = "testlab_greeting-1.2.0-py3-none-any.whl"


def wheel() -> bytes:
    info = "testlab_greeting-1.2.0.dist-info"
    files = {
        "testlab_greeting.py": "def greet(name):\n    return f'Good morning, {name}'\n",
        f"{info}/METADATA": "Metadata-Version: 2.1\nName: testlab-greeting\nVersion: 1.2.0\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: by hand\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    record = "".join(f"{name},,\n" for name in (*files, f"{info}/RECORD"))
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for name, text in {**files, f"{info}/RECORD": record}.items():
            archive.writestr(name, text)
    return packed.getvalue()


def upload(content: bytes, password: str) -> int:
    fields = {
        ":action": "file_upload",
        "protocol_version": "1",
        "name": "testlab-greeting",
        "version": "1.2.0",
        "filetype": "bdist_wheel",
        "sha256_digest": hashlib.sha256(content).hexdigest(),
    }
    boundary = "a-boundary-that-no-wheel-holds"
    parts = [f'--{boundary}\r\nContent-Disposition: form-data; name="{k}"\r\n\r\n{v}\r\n' for k, v in fields.items()]
    parts.append(
        f'--{boundary}\r\nContent-Disposition: form-data; name="content"; filename="{NAME}"\r\n'
        "Content-Type: application/octet-stream\r\n\r\n"
    )
    body = "".join(parts).encode() + content + f"\r\n--{boundary}--\r\n".encode()
    login = base64.b64encode(f"uploader:{password}".encode()).decode()
    headers = {"Content-Type": f"multipart/form-data; boundary={boundary}", "Authorization": f"Basic {login}"}
    try:
        with urllib.request.urlopen(urllib.request.Request(URL + "/", body, headers), timeout=30) as answer:
            return answer.status
    except urllib.error.HTTPError as error:
        return error.code


made = wheel()
refused = upload(made, "not-the-password")
assert refused in (401, 403), f"an upload with a wrong password got {refused}"
accepted = upload(made, os.environ["UPLOAD_PASSWORD"])
assert accepted == 200, f"the upload got {accepted}"

with tempfile.TemporaryDirectory() as folder:
    host = urllib.parse.urlsplit(URL).hostname
    subprocess.run(
        [sys.executable, "-m", "pip", "--isolated", "install", "--quiet", "--no-cache-dir", "--no-deps"]
        + ["--disable-pip-version-check", "--index-url", f"{URL}/simple/", "--trusted-host", str(host)]
        + ["--target", folder, "testlab-greeting==1.2.0"],
        check=True,
    )
    said = subprocess.run(
        [sys.executable, "-c", "import testlab_greeting as t; print(t.__file__); print(t.greet('nurse'))"],
        env={**os.environ, "PYTHONPATH": folder},
        check=True,
        capture_output=True,
        text=True,
    ).stdout.splitlines()
    assert said[0].startswith(folder), f"the package was imported from elsewhere: {said[0]}"
assert said[1] == "Good morning, nurse", f"the installed package says {said[1]!r}"
print("uploaded, installed by pip, imported:", said[1])
