"""Adds prices up in cents; each is cut off instead of rounded, which floating point punishes."""

import json
import os
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit


def cents(price: str) -> int:
    return int(float(price) * 100)


class Till(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        address = urlsplit(self.path)
        body, kind = b"<h1>Till</h1>\n", "text/html; charset=utf-8"
        if address.path == "/sum":
            prices = parse_qs(address.query).get("prices", ["0"])[0].split(",")
            body, kind = json.dumps({"sum": {"cents": sum(map(cents, prices))}}).encode(), "application/json"
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.end_headers()
        self.wfile.write(body)


ThreadingHTTPServer(("127.0.0.1", int(os.environ["PORT"])), Till).serve_forever()
