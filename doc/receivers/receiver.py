#!/usr/bin/env python3
"""A receiver for mailhook's events, to begin your own with. Python 3.9 or
later, nothing else.

    WEBHOOK_SECRET=whsec_… ./receiver.py [PORT [STORE]]

It checks the signature, keeps each event once (a line of JSON in STORE,
on disk before it answers), and says which numbers never came. Put it behind
a TLS proxy; it listens on loopback.
"""

import base64
import gzip
import hashlib
import hmac
import io
import json
import os
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

SECRET = os.environ["WEBHOOK_SECRET"]
PORT = int(sys.argv[1]) if len(sys.argv) > 1 else 8080
STORE = sys.argv[2] if len(sys.argv) > 2 else "events.jsonl"
TOLERANCE = 5 * 60  # seconds between their clock and ours
BODY_MAX = 64 * 1024 * 1024


def is_signed(headers, body):
    """Standard Webhooks 1.0: HMAC-SHA256 over id.timestamp.body."""
    webhook_id = headers.get("webhook-id", "")
    timestamp = headers.get("webhook-timestamp", "")
    if not timestamp.isdecimal() or \
            abs(time.time() - int(timestamp)) > TOLERANCE:
        return False
    key = base64.b64decode(SECRET.removeprefix("whsec_"))
    signed = f"{webhook_id}.{timestamp}.".encode() + body
    expected = base64.b64encode(
        hmac.new(key, signed, hashlib.sha256).digest()).decode()
    # Several while secrets are being changed: one of them is enough.
    return any(hmac.compare_digest("v1," + expected, given) for given in
               headers.get("webhook-signature", "").split(" "))


def gunzip(body):
    """Never more than that: whoever sent it is not known yet."""
    with gzip.GzipFile(fileobj=io.BytesIO(body)) as unpacked:
        return unpacked.read(BODY_MAX)


class Numbers:
    """Which numbers of each stream have come. Everything up to the floor has
    been answered or announced by a Gap, so a number below it that neither
    came nor stands in a Gap is lost: ours, or between us and our store."""

    def __init__(self):
        self.floors = {}  # stream -> floor
        self.above = {}   # stream -> numbers above the floor

    def add(self, event):
        sequences = event["data"].get("vnd.mailhook.sequences")
        numbers = {int(event["sequence"])}
        if sequences:
            first, _, last = sequences.partition("-")
            numbers.update(range(int(first), int(last or first) + 1))
        self.above.setdefault(event["stream"], set()).update(numbers)

    def raise_floor(self, stream, floor):
        """Returns the numbers that are lost."""
        above = self.above.setdefault(stream, set())
        before = self.floors.get(stream, floor)
        lost = [n for n in range(before + 1, floor + 1) if n not in above]
        self.floors[stream] = max(before, floor)
        self.above[stream] = {n for n in above if n > floor}
        return lost


class Store:
    def __init__(self, path):
        self.lock = threading.Lock()
        self.ids = set()
        self.numbers = Numbers()
        self.file = open(path, "a+", encoding="utf-8")
        self.file.seek(0)
        for line in self.file:
            event = json.loads(line)
            self.ids.add(event["id"])
            self.numbers.add(event)

    def keep(self, event):
        """True if the event is new. On disk when this returns."""
        with self.lock:
            new = event["id"] not in self.ids
            if new:
                self.file.write(json.dumps(event) + "\n")
                self.file.flush()
                os.fsync(self.file.fileno())
                self.ids.add(event["id"])
            # Tests and replays carry the number 0 and no floor.
            if int(event["sequence"]) > 0:
                self.numbers.add(event)
            return new

    def raise_floor(self, stream, floor):
        """After the request's own events: they are above it."""
        with self.lock:
            for number in self.numbers.raise_floor(stream, floor):
                print(f"lost: {stream} {number}", flush=True)


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        body = self.rfile.read(int(self.headers.get("content-length", 0)))
        # With compress = true. Signed is what was compressed.
        if self.headers.get("content-encoding") == "gzip":
            body = gunzip(body)
        if not is_signed(self.headers, body):
            return self.answer(401)
        events = json.loads(body)
        # An array with format = "cloudevents-batch".
        for event in events if isinstance(events, list) else [events]:
            if store.keep(event):
                handle(event)
        if "mailhook-floor" in self.headers:
            store.raise_floor(event["stream"],
                              int(self.headers["mailhook-floor"]))
        # Any 2xx; what is not answered so comes again.
        self.answer(204)

    def answer(self, status):
        self.send_response_only(status)
        self.send_header("Content-Length", "0") if status != 204 else None
        self.end_headers()

    def log_message(self, *args):
        pass


def handle(event):
    """Yours. Whatever takes long belongs behind the store, not here."""
    print(event["type"], event.get("subject", ""), flush=True)


store = Store(STORE)
server = ThreadingHTTPServer(("127.0.0.1", PORT), Handler)
print(f"listening on 127.0.0.1:{server.server_address[1]}", flush=True)
server.serve_forever()
