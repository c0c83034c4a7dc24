"""Counts what is on the shelves: each page asks the database first."""

import os
import socket
import traceback
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit


def connect() -> socket.socket:
    database = urlsplit(os.environ["DATABASE_URL"])
    print(f"connecting to the database at {database.hostname}:{database.port}", flush=True)
    return socket.create_connection((database.hostname, database.port), timeout=3)


class Stockroom(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        try:
            connect().close()
            status, page = 200, b"All shelves are in order\n"
        except OSError:
            traceback.print_exc()
            status, page = 500, b"Internal Server Error\n"
        self.send_response(status)
        self.send_header("Content-Length", str(len(page)))
        self.end_headers()
        self.wfile.write(page)


ThreadingHTTPServer(("127.0.0.1", int(os.environ["PORT"])), Stockroom).serve_forever()
