"""Serves the newsletter's sign-up page."""

import os
from http.server import HTTPServer

from newsletter.page import Page

HTTPServer(("127.0.0.1", int(os.environ["PORT"])), Page).serve_forever()
