"""Writes a note as the wiki's own editor would, reads it back, finds it in the rendered page; a stranger can't write."""

import base64
import json
import os
import time
import urllib.error
import urllib.request

URL = os.environ["APP_URL"]
NOTE = "/recipes/default/tiddlers/Sourdough"
WRITER = "Basic " + base64.b64encode(f"writer:{os.environ['WRITER_PASSWORD']}".encode()).decode()


def ask(method: str, path: str, body: object = None, **headers: str) -> tuple[int, str]:
    headers = {"X-Requested-With": "TiddlyWiki", "Content-Type": "application/json", **headers}
    content = None if body is None else json.dumps(body).encode()
    try:
        request = urllib.request.Request(URL + path, content, headers, method=method)
        with urllib.request.urlopen(request, timeout=20) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode(errors="replace")


note = {"title": "Sourdough", "tags": "kitchen", "text": "Feed it on ''Sundays''."}
status, _ = ask("PUT", NOTE, note)
assert status in (401, 403), f"a stranger's note got {status}"
status, said = ask("PUT", NOTE, {**note, "text": "Feed it on Sundays."}, Authorization=WRITER)
assert status == 204, f"the note got {status}: {said[:300]}"

status, kept = ask("GET", NOTE)
assert status == 200, f"reading the note back got {status}"
assert json.loads(kept)["text"] == "Feed it on Sundays.", f"the note came back as {kept}"
status, page = ask("GET", "/Sourdough")
assert status == 200, f"the note's page got {status}"
assert "Feed it on Sundays." in page, "the note's page doesn't show its text"
time.sleep(1)  # the wiki writes its files up to a second later; the next check looks at the file
print("the note came back, as data and as a page")
