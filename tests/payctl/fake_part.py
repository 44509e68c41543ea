"""A part that only listens, and misbehaves on demand: `fake_part.py NAME CONDUCT`.

Run as a program by the tests of the supervisor. It writes its process id to
`NAME.pid` and says in the file `order` that it was asked to stop.
"""

import json
import os
import signal
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

name, conduct = sys.argv[1:3]
var = Path(os.environ["VAR_DIR"])
host, _, port = os.environ[f"{name.upper()}_LISTEN"].rpartition(":")


class Handler(BaseHTTPRequestHandler):
    """Answers 200, and what it was told about the parts before it."""

    def do_GET(self) -> None:
        self.send_response(503 if conduct == "never-well" else 200)
        self.end_headers()
        self.wfile.write(os.environ.get("FIRST_URL", "").encode())

    def log_message(self, *_: Any) -> None:
        return


def stop(*_: Any) -> None:
    with (var / "order").open("a") as file:
        file.write(f"{name}\n")
    if conduct != "stubborn":
        threading.Thread(target=server.shutdown).start()


if conduct == "dies-at-once":
    sys.exit("cannot: the moon is wrong")
signal.signal(signal.SIGTERM, stop)
signal.signal(signal.SIGINT, signal.SIG_IGN)
server = ThreadingHTTPServer((host, int(port)), Handler)
(var / f"{name}.pid").write_text(str(os.getpid()))
real_port = server.server_address[1]
line = json.dumps({"event": "listening", "addresses": [f"{host}:{real_port}"]})
sys.stderr.write(f"{line}\n")
sys.stderr.flush()
server.serve_forever()
