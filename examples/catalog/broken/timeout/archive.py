"""Lists an archive's folders once its index is unlocked, which never happens."""

import os
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

index = threading.Lock()


class Archive(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        with index:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"12 folders\n")


index.acquire()
print("building the index", flush=True)
ThreadingHTTPServer(("127.0.0.1", int(os.environ["PORT"])), Archive).serve_forever()
