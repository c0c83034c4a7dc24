"""Reports a sighting through a writable query and reads the row back, from the table and by a query of its own."""

import json
import os
import urllib.parse
import urllib.request

URL = os.environ["APP_URL"]
SIGHTING = {"species": "Hoopoe", "place": "the orchard & the hedge", "seen": "2026-06-01"}


def get(path: str, **arguments: str) -> object:
    with urllib.request.urlopen(f"{URL}{path}?{urllib.parse.urlencode(arguments)}", timeout=20) as answer:
        return json.load(answer)


before = get("/birds/sightings.json", _shape="array", species="Hoopoe")
assert before == [], f"the row is there before it was reported: {before}"

request = urllib.request.Request(
    URL + "/birds/report",
    json.dumps(SIGHTING).encode(),
    {"Content-Type": "application/json", "Accept": "application/json"},
)
with urllib.request.urlopen(request, timeout=20) as answer:
    said = json.load(answer)
assert said["ok"] is True, f"the report was refused: {said}"

rows = get("/birds/of_species.json", _shape="array", species="Hoopoe")
assert rows == [SIGHTING], f"expected {[SIGHTING]}, got {rows}"
count = get("/birds/sightings.json", _shape="array", _col="species")
assert len(count) == 4, f"expected 4 rows in the table, got {count}"
print("the row came back:", rows[0])
