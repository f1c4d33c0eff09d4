"""A webhook receiver: a real HTTP/1.1 server on loopback that records every
request, checks its signature by itself (nothing is shared with mailhook's own
code) and answers as a test scripted it.
"""

import base64
import hashlib
import hmac
import secrets
import socket
import threading
import time
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from . import formats, schema


def new_secret():
    return "whsec_" + base64.b64encode(secrets.token_bytes(32)).decode()


def signature_of(secret, webhook_id, timestamp, body):
    """Standard Webhooks 1.0, symmetric: HMAC-SHA256 of id.timestamp.body."""
    key = base64.b64decode(secret.removeprefix("whsec_"))
    signed = f"{webhook_id}.{timestamp}.".encode() + body
    digest = hmac.new(key, signed, hashlib.sha256).digest()
    return "v1," + base64.b64encode(digest).decode()


@dataclass
class Answer:
    """How the next request is answered. `hang`: not before release() or the
    client gives up. `close`: the connection is cut without an answer."""

    status: int = 204
    headers: dict = field(default_factory=dict)
    body: bytes = b""
    delay: float = 0
    hang: bool = False
    close: bool = False


@dataclass
class Request:
    path: str
    headers: dict
    body: bytes
    connection: int
    arrived: float
    valid: list            # which of the path's secrets signed it
    answered: int = 0      # status; 0: hung or closed

    @property
    def id(self):
        return self.headers.get("webhook-id")

    @property
    def events(self):
        return formats.events(self.headers, self.body)

    @property
    def event(self):
        """Of a request with one, whatever its format."""
        event, = self.events
        return event

    @property
    def type(self):
        return self.event["type"].removeprefix("org.ietf.rfc5423.")

    @property
    def data(self):
        return self.event["data"]

    @property
    def owner_of_all(self):
        return {event.get("partitionkey") for event in self.events}

    @property
    def owner(self):
        return self.event.get("partitionkey")

    @property
    def sequence(self):
        return int(self.event["sequence"])

    @property
    def floor(self):
        value = self.headers.get("mailhook-floor")
        return None if value is None else int(value)


class Receiver:
    """One per test session. Each path is an endpoint of its own with its
    secrets and its script of answers; an exhausted script answers 204."""

    def __init__(self, on_request=None, tls=None, address="127.0.0.1"):
        self.on_request = on_request
        self.requests = []
        self.secrets = {}
        self.lock = threading.Condition()
        self._scripts = {}
        self.asked = []    # (path, headers) of each OPTIONS
        self.permits = {}  # path -> headers of the answer; else it is 405
        self._release = threading.Event()
        self._connections = 0
        server = type("Server", (ThreadingHTTPServer,), {
            # With the five of its default the kernel drops connections when
            # all endpoints connect at once, until a request times out.
            "request_queue_size": 1024,
            "address_family": socket.AF_INET6 if ":" in address else
            socket.AF_INET})
        self._server = server((address, 0), self._handler_class())
        self._host = f"[{address}]" if ":" in address else address
        if tls:
            # Each connection's thread shakes hands; who does not get
            # through is none of the test's output.
            self._server.socket = tls.wrap_socket(
                self._server.socket, server_side=True,
                do_handshake_on_connect=False)
            self._server.handle_error = lambda *_: None
        self._scheme = "https" if tls else "http"
        self._server.daemon_threads = True
        self.port = self._server.server_address[1]
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(0.05,), daemon=True)
        self._thread.start()

    def url(self, path):
        return f"{self._scheme}://{self._host}:{self.port}{path}"

    def stop(self):
        self._release.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def script(self, path, *answers, default=None, choose=None):
        """The next answers on this path, one each; then `default`. `choose`
        (request -> Answer or None) is asked before the script."""
        with self.lock:
            self._scripts[path] = (list(answers), default or Answer(), choose)

    def release(self):
        """Lets hanging requests go: each gets its answer's status."""
        self._release.set()
        self._release = threading.Event()

    def on(self, path):
        with self.lock:
            return [r for r in self.requests if r.path == path]

    def answered(self, path):
        return [r for r in self.on(path) if 200 <= r.answered < 300]

    def wait(self, condition, timeout=60, what="the expected requests"):
        """Waits until condition() holds; it is asked after every request.
        The time-out only says that a test hangs, never that it is slow."""
        end = time.monotonic() + timeout
        with self.lock:
            while True:
                value = condition()
                if value:
                    return value
                left = end - time.monotonic()
                if left <= 0:
                    raise AssertionError(f"{what} did not come")
                self.lock.wait(min(left, 1))

    def _record(self, request):
        with self.lock:
            self.requests.append(request)
            answers, default, choose = self._scripts.get(
                request.path, ([], Answer(), None))
            answer = choose(request) if choose else None
            if answer is None:
                answer = answers.pop(0) if answers else default
            if not answer.hang and not answer.close and not answer.delay:
                request.answered = answer.status
            self.lock.notify_all()
            return answer, self._release

    def _handler_class(receiver):
        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True

            def setup(self):
                super().setup()
                with receiver.lock:
                    receiver._connections += 1
                    self.number = receiver._connections

            def do_OPTIONS(self):
                headers = {k.lower(): v for k, v in self.headers.items()}
                with receiver.lock:
                    receiver.asked.append((self.path, headers))
                    permit = receiver.permits.get(self.path)
                    receiver.lock.notify_all()
                self.send_response_only(405 if permit is None else 200)
                for name, value in (permit or {}).items():
                    self.send_header(name, value)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def do_POST(self):
                length = int(self.headers.get("Content-Length") or 0)
                body = self.rfile.read(length)
                headers = {k.lower(): v for k, v in self.headers.items()}
                request = Request(
                    self.path, headers, body, self.number, time.monotonic(),
                    receiver._valid(self.path, headers, body))
                schema.came(request)
                answer, release = receiver._record(request)
                if receiver.on_request:
                    receiver.on_request(request)
                if answer.delay:
                    time.sleep(answer.delay)
                if answer.hang:
                    release.wait()
                if answer.close:
                    self.close_connection = True
                    return
                # Before the octets leave: the next request may be quicker
                # than this thread.
                with receiver.lock:
                    request.answered = answer.status
                try:
                    self.send_response_only(answer.status)
                    for name, value in answer.headers.items():
                        self.send_header(name, value)
                    if answer.status not in (204, 304):
                        self.send_header("Content-Length",
                                         str(len(answer.body)))
                    self.end_headers()
                    if answer.status not in (204, 304):
                        self.wfile.write(answer.body)
                except OSError:
                    request.answered = 0
                with receiver.lock:
                    receiver.lock.notify_all()

            def log_message(self, *args):
                pass

        return Handler

    def _valid(self, path, headers, body):
        given = headers.get("webhook-signature", "").split(" ")
        return [
            secret for secret in self.secrets.get(path, [])
            if signature_of(secret, headers.get("webhook-id", ""),
                            headers.get("webhook-timestamp", ""),
                            formats.plain(headers, body)) in given
        ]
