"""A list of things to do, in Python alone; put what you want to show in its place."""

import os
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

LIST = Path("list.txt")


class App(BaseHTTPRequestHandler):
    """Answers each request."""

    def do_GET(self) -> None:
        """What there is to do."""
        self.answer(200, LIST.read_text() if LIST.exists() else "nothing to do\n")

    def do_POST(self) -> None:
        """Add one thing: /add?what=…"""
        what = parse_qs(urlsplit(self.path).query).get("what")
        if what is None:
            self.answer(400, "what is to be done?\n")
            return
        with LIST.open("a") as file:
            file.write(what[0] + "\n")
        self.answer(201, "added\n")

    def answer(self, status: int, text: str) -> None:
        """Send an answer."""
        self.send_response(status)
        self.send_header("Content-Type", "text/plain; charset=utf-8")
        self.end_headers()
        self.wfile.write(text.encode())


ThreadingHTTPServer(("127.0.0.1", int(os.environ["PORT"])), App).serve_forever()
