"""A guest book, open on the port that it is given."""

import os
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class GuestBook(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        page = b"<h1>Guest book</h1><p>Ada was here</p>\n"
        self.send_response(200)
        self.send_header("Content-Type", "text/html; charset=utf-8")
        self.send_header("Content-Length", str(len(page)))
        self.end_headers()
        self.wfile.write(page)


server = ThreadingHTTPServer(("127.0.0.1", int(os.environ["PORT"])), GuestBook)
print(f"guest book is open on port {server.server_port}", flush=True)
server.serve_forever()
