# ruff: noqa: PTH123, T201, UP031, UP041 - it runs on whatever python3 a target has
"""One HTTP request, for targets without curl: prints `STATUS SECONDS CODE`, CODE being curl's own exit code."""

import http.client
import socket
import sys
import time

address, host, path, file = sys.argv[1:]
began = time.monotonic()
status, code = 0, 0
try:
    connection = http.client.HTTPConnection(address, timeout=2)
    connection.request("GET", path, headers={"Host": host})
    answer = connection.getresponse()
    with open(file, "wb") as out:
        out.write(answer.read(65536))
    status = answer.status
except ConnectionRefusedError:
    code = 7
except socket.timeout:
    code = 28
except (ConnectionError, http.client.HTTPException):
    code = 56
except OSError:
    code = 1
print("%03d %.6f %d" % (status, time.monotonic() - began, code))
