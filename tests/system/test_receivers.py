"""The receivers that the documentation offers do what it says: run by their
own languages, fed by mailhook, killed in the middle."""

import base64
import gzip
import hashlib
import hmac
import json
import os
import shutil
import signal
import socket
import sqlite3
import subprocess
import time
import urllib.error
import urllib.request

import pytest

from harness import build
from harness.clients import message
from harness.dovecot import free_ports

RECEIVERS = build.SOURCE / "doc" / "receivers"


class Running:
    """One of them, on a port of its own."""

    def __init__(self, language, secret, directory):
        self.language = language
        self.secret = secret
        self.port, = free_ports(1)
        self.store = directory / f"store.{language}"
        self.log = directory / f"log.{language}"
        self.process = None

    def start(self):
        command = {
            "python": ["/usr/bin/python3", RECEIVERS / "receiver.py",
                       self.port, self.store],
            "node": ["node", RECEIVERS / "receiver.mjs", self.port,
                     self.store],
            "php": ["php", "-S", f"127.0.0.1:{self.port}",
                    RECEIVERS / "receiver.php"],
        }[self.language]
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen(
                [str(part) for part in command], stdout=log, stderr=log,
                stdin=subprocess.DEVNULL,
                env={**os.environ, "WEBHOOK_SECRET": self.secret,
                     "EVENT_STORE": str(self.store)})
        for _ in range(600):
            try:
                socket.create_connection(("127.0.0.1", self.port)).close()
                return self
            except OSError:
                assert self.process.poll() is None, self.log.read_text()
                time.sleep(0.05)
        raise AssertionError(f"{self.language} does not listen")

    def stop(self, how=signal.SIGTERM):
        if self.process and self.process.poll() is None:
            self.process.send_signal(how)
            self.process.wait(30)

    def events(self):
        if not self.store.exists():
            return []
        if self.language == "php":
            with sqlite3.connect(self.store) as one:
                # The file is there before the receiver has made the table.
                if not one.execute("SELECT 1 FROM sqlite_master WHERE "
                                   "name = 'events'").fetchone():
                    return []
                return [json.loads(body) for body, in one.execute(
                    "SELECT body FROM events ORDER BY rowid")]
        return [json.loads(line)
                for line in self.store.read_text("utf-8").splitlines()]

    def post(self, event, floor=None, secret=None, packed=False):
        """One event, or a batch of them."""
        body = json.dumps(event).encode()
        event = event[0] if isinstance(event, list) else event
        stamp = str(int(time.time()))
        key = base64.b64decode(
            (secret or self.secret).removeprefix("whsec_"))
        digest = hmac.new(key, f"{event['id']}.{stamp}.".encode() + body,
                          hashlib.sha256).digest()
        headers = {"webhook-id": event["id"], "webhook-timestamp": stamp,
                   "webhook-signature": "v1,bm9uc2Vuc2U= v1," +
                   base64.b64encode(digest).decode()}
        if floor is not None:
            headers["mailhook-floor"] = str(floor)
        if packed:
            headers["content-encoding"] = "gzip"
            body = gzip.compress(body)
        try:
            with urllib.request.urlopen(urllib.request.Request(
                    f"http://127.0.0.1:{self.port}/", body, headers),
                    timeout=60) as answer:
                return answer.status
        except urllib.error.HTTPError as refused:
            return refused.code


@pytest.fixture(params=["python", "node", "php"])
def running(request, configuration, receiver, tmp_path):
    if request.param != "python" and shutil.which(request.param) is None:
        pytest.skip(f"{request.param} is not installed, so its receiver "
                    "cannot be tried")
    name = f"theirs-{request.node.name.partition('[')[0]}-{request.param}"
    path = configuration.add(name, retry_first='"1s"', retry_max='"1s"',
                             format='"cloudevents-batch"', linger='"1ms"',
                             compress="true")
    one = Running(request.param, receiver.secrets[path][0], tmp_path)
    configuration.endpoints[name]["url"] = \
        f'"http://127.0.0.1:{one.port}/"'
    one.start()
    yield one
    one.stop()


def test_keeps_each_event_once_through_a_crash(running, configuration, mail):
    configuration.apply()
    mail.deliver(message("one"))
    running.stop(signal.SIGKILL)
    mail.deliver(message("two"))
    with mail.imap() as imap:
        imap.ok("SELECT INBOX")
        imap.ok("STORE 1:2 +FLAGS (\\Seen)")
    sent = [request.id for request in mail.take()]
    assert len(sent) == 3
    running.start()
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        kept = [event["id"] for event in running.events()
                if event["data"].get("user") == mail.user]
        if set(sent) <= set(kept):
            break
        time.sleep(0.1)
    # The marker of take() is one more.
    assert [one for one in kept if one in sent] == sent
    assert len(kept) == len(set(kept))
    assert "lost:" not in running.log.read_text()


def event(number, stream="s", **data):
    return {"id": f"id-{stream}-{number}", "type": "test", "stream": stream,
            "sequence": f"{number:020}", "data": data}


def test_refuses_forgeries_and_tells_losses(running, receiver):
    forged = "whsec_" + base64.b64encode(b"x" * 32).decode()
    assert running.post(event(1), secret=forged) == 401
    assert running.events() == []
    assert running.post(event(1), floor=0) == 204
    assert running.post(event(1), floor=0) == 204
    assert running.post(event(3), floor=1) == 204
    gap = event(6, **{"vnd.mailhook.sequences": "4-5"})
    assert running.post(gap, floor=1) == 204
    assert running.post(event(0), floor=None) == 204
    # 2 never came: it was not answered, and no Gap has named it.
    assert running.post(event(7), floor=6) == 204
    assert [one["id"] for one in running.events()] == \
        ["id-s-1", "id-s-3", "id-s-6", "id-s-0", "id-s-7"]
    lost = [line.split("lost: ")[1] for line in
            running.log.read_text().splitlines() if "lost: " in line]
    assert lost == ["s 2"]


def test_takes_batches_and_gzip(running):
    assert running.post([event(1), event(2), event(1)], floor=0,
                        packed=True) == 204
    assert running.post([event(2), event(4)], floor=2) == 204
    assert running.post(event(5), floor=4, packed=True) == 204
    assert [one["id"] for one in running.events()] == \
        ["id-s-1", "id-s-2", "id-s-4", "id-s-5"]
    assert "lost: s 3" in running.log.read_text()
    # What it says of itself must be signed, packed or not.
    assert running.post([event(6)], packed=True, secret="whsec_" +
                        base64.b64encode(b"x" * 32).decode()) == 401
