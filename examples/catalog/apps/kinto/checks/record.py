"""Signs up, keeps a record in a collection, changes it, and finds it again by a filter; a stranger doesn't see it."""

import base64
import json
import os
import urllib.error
import urllib.request

URL = os.environ["APP_URL"] + "/v1"
LOGIN = "Basic " + base64.b64encode(f"admin:{os.environ['ADMIN_PASSWORD']}".encode()).decode()
TASKS = "/buckets/home/collections/tasks/records"


def ask(method: str, path: str, data: object = None, login: str | None = LOGIN) -> tuple[int, dict]:
    headers = {"Content-Type": "application/json", **({"Authorization": login} if login else {})}
    body = None if data is None else json.dumps({"data": data}).encode()
    try:
        request = urllib.request.Request(URL + path, body, headers, method=method)
        with urllib.request.urlopen(request, timeout=20) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        return error.code, json.load(error)


def must(status: int, got: tuple[int, dict]) -> dict:
    assert got[0] == status, f"expected {status}, got {got}"
    return got[1]


must(201, ask("PUT", "/accounts/admin", {"password": os.environ["ADMIN_PASSWORD"]}, login=None))
must(201, ask("PUT", "/buckets/home", {}))
must(201, ask("PUT", "/buckets/home/collections/tasks", {}))
kept = must(201, ask("POST", TASKS, {"title": "buy-milk", "done": False}))["data"]
must(201, ask("POST", TASKS, {"title": "water-plants", "done": False}))
must(200, ask("PATCH", f"{TASKS}/{kept['id']}", {"done": True}))

found = must(200, ask("GET", f"{TASKS}?done=true"))["data"]
assert [(task["id"], task["title"]) for task in found] == [(kept["id"], "buy-milk")], f"the filter found {found}"
must(401, ask("GET", TASKS, login=None))
print("the record came back, changed, by its filter:", found[0])
