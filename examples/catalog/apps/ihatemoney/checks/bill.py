"""Starts a shared budget, enters who paid what, and reads back who owes whom."""

import base64
import json
import os
import secrets
import urllib.error
import urllib.parse
import urllib.request

URL = os.environ["APP_URL"] + "/api/projects"
CODE = secrets.token_urlsafe(12)


def ask(method: str, path: str, login: bool = True, **form: object) -> object:
    headers = {"Authorization": "Basic " + base64.b64encode(f"trip:{CODE}".encode()).decode()} if login else {}
    body = urllib.parse.urlencode(form, doseq=True).encode() if form else None
    try:
        request = urllib.request.Request(URL + path, body, headers, method=method)
        with urllib.request.urlopen(request, timeout=20) as answer:
            return json.load(answer)
    except urllib.error.HTTPError as error:
        raise SystemExit(f"{method} {path} -> {error.code}: {error.read().decode(errors='replace')[:500]}") from None


ask("POST", "", login=False, id="trip", name="Trip", password=CODE, contact_email="a@example.com", default_currency="XXX")
ada = ask("POST", "/trip/members", name="Ada", weight=1)
bob = ask("POST", "/trip/members", name="Bob", weight=2)
bill = ask(
    "POST", "/trip/bills", date="2026-05-01", what="Cabin", payer=ada, payed_for=[ada, bob], amount="90", bill_type="Expense"
)

kept = ask("GET", f"/trip/bills/{bill}")
assert (kept["what"], kept["amount"], kept["payer_id"]) == ("Cabin", 90.0, ada), f"the bill came back as {kept}"

balance = {row["member"]["name"]: round(row["balance"], 2) for row in ask("GET", "/trip/statistics")}
assert balance == {"Ada": 60.0, "Bob": -60.0}, f"expected Bob to owe 60, got {balance}"
print("the bill came back, and Bob owes Ada 60")
