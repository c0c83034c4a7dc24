"""Signs in, deploys a flow that greets and counts its guests, calls it, and reads the flow back."""

import json
import os
import time
import urllib.error
import urllib.parse
import urllib.request

URL = os.environ["APP_URL"]
GREET = """
const guests = (flow.get("guests") || 0) + 1;
flow.set("guests", guests);
msg.payload = { hello: msg.req.params.name, guests };
return msg;
"""
FLOW = [
    {"id": "tab", "type": "tab", "label": "Reception"},
    {"id": "in", "z": "tab", "type": "http in", "url": "/greet/:name", "method": "get", "wires": [["greet"]]},
    {"id": "greet", "z": "tab", "type": "function", "func": GREET, "outputs": 1, "wires": [["out"]]},
    {"id": "out", "z": "tab", "type": "http response", "statusCode": "200", "wires": []},
]


def ask(method: str, path: str, body: bytes | None = None, **headers: str) -> tuple[int, bytes]:
    try:
        with urllib.request.urlopen(urllib.request.Request(URL + path, body, headers, method=method), timeout=30) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        return error.code, error.read()


def greet(name: str, seconds: float = 10) -> dict:
    """What the flow says; it starts a moment after its deployment was confirmed."""
    until = time.monotonic() + seconds
    while True:
        status, said = ask("GET", f"/greet/{name}")
        if status == 200:
            return json.loads(said)
        assert time.monotonic() < until, f"the flow still answers {status}: {said[:300]!r}"
        time.sleep(0.2)


form = {
    "client_id": "node-red-admin",
    "grant_type": "password",
    "scope": "*",
    "username": "admin",
    "password": os.environ["ADMIN_PASSWORD"],
}
status, said = ask("POST", "/auth/token", urllib.parse.urlencode(form).encode())
assert status == 200, f"signing in got {status}: {said[:300]!r}"
login = {"Authorization": "Bearer " + json.loads(said)["access_token"], "Content-Type": "application/json"}

assert ask("GET", "/greet/ada")[0] == 404, "the flow answers before it was deployed"
status, said = ask("POST", "/flows", json.dumps(FLOW).encode(), **{"Node-RED-Deployment-Type": "full"}, **login)
assert status == 204, f"deploying got {status}: {said[:300]!r}"

first, second = greet("ada"), greet("bob")
assert first["hello"] == "ada", f"the flow says {first}"
assert second == {"hello": "bob", "guests": first["guests"] + 1}, f"the flow says {second} after {first}"

status, said = ask("GET", "/flows", **login)
assert [node["id"] for node in json.loads(said)] == ["tab", "in", "greet", "out"], f"the flow came back as {said[:500]!r}"
print("the flow answers:", first, second)
