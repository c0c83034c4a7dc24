"""Tells the temperature, if only its module for units were installed."""

import os
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import units_of_weather


class Weather(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()
        self.wfile.write(f"{units_of_weather.celsius(294)} degrees".encode())


ThreadingHTTPServer(("127.0.0.1", int(os.environ["PORT"])), Weather).serve_forever()
