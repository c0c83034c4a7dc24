"""The sign-up page."""

from http.server import BaseHTTPRequestHandler


class Page(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()
        self.wfile.write("Subscribe to our letters".encode()


SIZE = "A4"
