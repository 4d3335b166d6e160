"""What the tests of turnd's HTTP share: requests to its doors, and TURN users of the REST kind."""
import base64
import hashlib
import hmac
import http.client
import json
import os
import socket
import sys
import time

sys.path.insert(0, os.environ["INTEROP"])
import turnclient  # noqa: E402

PATIENCE_S = 20


class UnixConnection(http.client.HTTPConnection):
    def __init__(self, path):
        super().__init__("localhost", timeout=PATIENCE_S)
        self.path = path

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(PATIENCE_S)
        self.sock.connect(self.path)


class Door:
    """A place to send requests to: a path, or (host, port)."""

    def __init__(self, at, token=None):
        self.at, self.token = at, token

    def ask(self, method, target, body=None, headers=None):
        """(status, headers, body)"""
        c = UnixConnection(self.at) if isinstance(self.at, str) else \
            http.client.HTTPConnection(*self.at, timeout=PATIENCE_S)
        headers = dict(headers or {})
        if self.token:
            headers.setdefault("Authorization", f"Bearer {self.token}")
        if body is not None and not isinstance(body, (str, bytes)):
            body = json.dumps(body)
            headers.setdefault("Content-Type", "application/json")
        c.putrequest(method, target, skip_host="Host" in headers)
        if body is not None:
            headers.setdefault("Content-Length", str(len(body)))
        for name, value in headers.items():
            c.putheader(name, value)
        try:
            c.endheaders(body.encode() if isinstance(body, str) else body)
        except (BrokenPipeError, ConnectionResetError):
            pass  # it has answered before the body was there
        r = c.getresponse()
        got = r.status, r.headers, r.read()
        c.close()
        return got

    def json(self, method, target, body=None, status=200, **more):
        """The answer as JSON; its status must be the one that is given."""
        got, headers, text = self.ask(method, target, body, **more)
        assert got == status, f"{method} {target}: {got}, not {status}: {text[:300]}"
        assert headers["Content-Type"] == "application/json", headers["Content-Type"]
        return json.loads(text)


def client(server, secret, name, transport="udp"):
    """A TURN client with a user of the REST kind; name is bytes."""
    user = b"%d:" % (time.time() + 3600) + name
    password = base64.b64encode(hmac.new(secret, user, hashlib.sha1).digest()).decode()
    return turnclient.Client(server, user, password, transport=transport)


def log_lines(path):
    """The lines of a JSON log; each must be whole."""
    with open(path, "rb") as f:
        return [json.loads(line) for line in f.read().decode("utf-8").split("\n")[:-1]]


def ended(path, user):
    """The line of the end of a user's session; it may come a moment after the client knows."""
    end = time.monotonic() + 10
    while time.monotonic() < end:
        for line in log_lines(path):
            if line["message"] == "allocation ended" and line["user"].endswith(":" + user):
                return line
        time.sleep(0.05)
    raise AssertionError(f"no end of {user} in the log")
