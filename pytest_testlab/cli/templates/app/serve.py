"""A tiny app with a page and an API, in Python alone; put your own in its place."""

import json
import os
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit


class App(BaseHTTPRequestHandler):
    """Answers each request."""

    def do_GET(self) -> None:
        """The page at /, and the sum of some numbers at /sum?of=2,3."""
        address = urlsplit(self.path)
        if address.path == "/":
            self.answer(200, "text/html; charset=utf-8", f"<h1>{os.environ['GREETING']} from @NAME@</h1>\n")
        elif address.path == "/sum":
            numbers = parse_qs(address.query).get("of", ["0"])[0].split(",")
            self.answer(200, "application/json", json.dumps({"sum": sum(map(int, numbers))}))
        else:
            self.answer(404, "text/plain", "there is no such page\n")

    def answer(self, status: int, kind: str, text: str) -> None:
        """Send an answer."""
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.end_headers()
        self.wfile.write(text.encode())


ThreadingHTTPServer(("127.0.0.1", int(os.environ["PORT"])), App).serve_forever()
