"""Makes a calendar, puts an event into it, and finds it again: by its address and by a query over its days."""

import base64
import os
import urllib.error
import urllib.request

URL = os.environ["APP_URL"]
LOGIN = base64.b64encode(f"alice:{os.environ['CALENDAR_PASSWORD']}".encode()).decode()
EVENT = "\r\n".join(
    (
        "BEGIN:VCALENDAR",
        "VERSION:2.0",
        "PRODID:-//example//catalog//EN",
        "BEGIN:VEVENT",
        "UID:launch-party@example.org",
        "DTSTAMP:20260101T000000Z",
        "DTSTART:20260914T180000Z",
        "DTEND:20260914T210000Z",
        "SUMMARY:Launch party",
        "END:VEVENT",
        "END:VCALENDAR",
        "",
    )
)
MAKE = """<?xml version="1.0"?>
<mkcalendar xmlns="urn:ietf:params:xml:ns:caldav" xmlns:D="DAV:">
  <D:set><D:prop><D:displayname>Team</D:displayname></D:prop></D:set>
</mkcalendar>"""
QUERY = """<?xml version="1.0"?>
<calendar-query xmlns="urn:ietf:params:xml:ns:caldav" xmlns:D="DAV:">
  <D:prop><D:getetag/><calendar-data/></D:prop>
  <filter><comp-filter name="VCALENDAR"><comp-filter name="VEVENT">
    <time-range start="{start}" end="{end}"/>
  </comp-filter></comp-filter></filter>
</calendar-query>"""


def ask(method: str, path: str, body: str = "", kind: str = "application/xml", **headers: str) -> str:
    headers = {"Authorization": f"Basic {LOGIN}", "Content-Type": kind, **headers}
    request = urllib.request.Request(URL + path, body.encode() or None, headers, method=method)
    try:
        with urllib.request.urlopen(request, timeout=20) as answer:
            print(method, path, "->", answer.status)
            return answer.read().decode()
    except urllib.error.HTTPError as error:
        raise SystemExit(f"{method} {path} -> {error.code}: {error.read().decode(errors='replace')[:500]}") from None


ask("MKCALENDAR", "/alice/team/", MAKE)
ask("PUT", "/alice/team/launch.ics", EVENT, "text/calendar; charset=utf-8")
event = ask("GET", "/alice/team/launch.ics")
assert "SUMMARY:Launch party" in event, f"the event came back changed:\n{event}"

found = ask("REPORT", "/alice/team/", QUERY.format(start="20260914T000000Z", end="20260915T000000Z"), Depth="1")
assert "Launch party" in found, f"the query of its day doesn't find the event:\n{found}"
other = ask("REPORT", "/alice/team/", QUERY.format(start="20260801T000000Z", end="20260901T000000Z"), Depth="1")
assert "Launch party" not in other, f"the query of another month finds the event:\n{other}"
print("the event came back, by its address and by its day")
