"""Shows what there is for lunch; the dessert was forgotten."""

import os
import traceback
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


def page() -> str:
    return f"<h1>Today</h1><p>{os.environ['SOUP']}</p><p>{os.environ['DESSERT']}</p>\n"


class Menu(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        try:
            status, body = 200, page()
        except Exception:
            traceback.print_exc()
            status, body = 500, "Internal Server Error\n"
        self.send_response(status)
        self.send_header("Content-Type", "text/html; charset=utf-8")
        self.end_headers()
        self.wfile.write(body.encode())


ThreadingHTTPServer(("127.0.0.1", int(os.environ["PORT"])), Menu).serve_forever()
