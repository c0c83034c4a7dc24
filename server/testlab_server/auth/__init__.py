"""Who may see the pages: closed unless opened, by one-time links and a session cookie."""

from testlab_server.auth.guard import OPEN_ENDPOINTS, install_guard
from testlab_server.auth.onetime import LoginLinks, Refused
from testlab_server.auth.secret import server_secret
from testlab_server.auth.sessions import Sessions

__all__ = ["OPEN_ENDPOINTS", "LoginLinks", "Refused", "Sessions", "install_guard", "server_secret"]
