"""The wall clock steps, in a mail process and in mailhookd: events say what
it says, their ids go on rising, and nothing that was planned comes sooner or
later for it."""

import datetime
import os
import struct
import subprocess
import time
from pathlib import Path

import pytest

from harness.clients import message
from harness.dialect import block
from harness.dovecot import let_in
from harness.receiver import Answer
from test_recovery import wait_for

MAIL = message()
ONE = "one@example.org"
YEAR = 366 * 86400
SHIM = Path(__file__).parent / "harness" / "clockshim.c"


class Clock:
    def __init__(self, directory):
        self.path = directory / "offset"
        self.library = directory / "clockshim.so"
        self.step(0)
        subprocess.run(["gcc", "-shared", "-fPIC", "-O1", "-o", self.library,
                        SHIM], check=True)
        os.chmod(self.path, 0o644)
        self.environment = {"LD_PRELOAD": str(self.library),
                            "MAILHOOK_TEST_CLOCK": str(self.path)}

    def step(self, seconds):
        """In place: it is mapped."""
        self.offset = seconds
        with open(self.path, "r+b" if self.path.exists() else "wb") as file:
            file.write(struct.pack("=q", seconds))

    def is_now(self, text):
        """Whether an event's time is this clock's, give or take a loaded
        machine."""
        then = datetime.datetime.fromisoformat(text).timestamp()
        return abs(then - time.time() - self.offset) < 50


@pytest.fixture(scope="module")
def stepping(serve, tmp_path_factory):
    """(Served, Clock): imap and the daemon have that clock."""
    if os.environ.get("MAILHOOK_SANITIZE"):
        pytest.skip("the sanitizers want to be loaded first")
    directory = Path(tmp_path_factory.mktemp("clock"))
    let_in(directory)
    clock = Clock(directory)
    loaded = " ".join(f"{k}={v}" for k, v in clock.environment.items())
    # Dovecot's master does without: it minds more than imap does.
    one = serve(daemon="foreground", extra=block("service imap", {
        "executable": f"/usr/bin/env {loaded} /usr/lib/dovecot/imap"}),
        endpoint={"retry_first": '"2s"', "retry_max": '"4s"'})
    os.environ.update(clock.environment)
    try:
        one.dovecot.start_daemon()
    finally:
        for name in clock.environment:
            del os.environ[name]
    yield one, clock


@pytest.fixture(autouse=True)
def on_time(stepping):
    yield
    stepping[1].step(0)


def test_ids_rise_and_times_are_the_clocks(stepping):
    served, clock = stepping
    mail = served.mail()
    with mail.imap() as imap:
        # Dovecot ends an imap whose clock goes back by more than that.
        for offset in (0, -4, YEAR, YEAR - 4, YEAR + 3600):
            clock.step(offset)
            imap.append("INBOX", MAIL)
            mail.wait(1)
            event = mail.requests()[-1]
            mail._taken += 1
            assert event.type == "MessageAppend"
            assert clock.is_now(event.event["time"]), (offset, event.event)
            assert event.event["time"] == event.data["timestamp"]
        events = mail.requests()
    assert len({event.data["pid"] for event in events}) == 1
    ids = [event.id for event in events]
    assert ids == sorted(ids) and len(set(ids)) == 5
    assert [event.sequence for event in events] == sorted(
        event.sequence for event in events)


@pytest.mark.parametrize("step", (YEAR, -YEAR, 3600, -3600))
def test_a_retry_is_planned_by_the_monotonic_clock(stepping, step):
    served, clock = stepping
    mail, receiver = served.mail(), served.receiver
    before = len(receiver.on(served.path))
    receiver.script(served.path, Answer(500))
    mail.deliver(MAIL)
    receiver.wait(lambda: len(receiver.on(served.path)) > before)
    first = receiver.on(served.path)[before]
    clock.step(step)
    mail.wait(1)
    again = [r for r in receiver.on(served.path) if r.id == first.id]
    assert [r.answered for r in again] == [500, 204]
    # Not at once (jitter takes a quarter at most), and not in a year.
    assert again[1].arrived - again[0].arrived > 1.4
    stamps = [int(r.headers["webhook-timestamp"]) for r in again]
    assert abs(stamps[1] - stamps[0] - step) < 50
    assert again[1].valid
    assert again[1].body == again[0].body

    def is_settled():
        status, = mail.dovecot.ask("status")["endpoints"]
        assert status["dead"] == 0
        return status["parked"] == 0

    wait_for(is_settled, "no parked event")


def test_retry_after_is_a_span_of_time(stepping):
    served, clock = stepping
    mail, receiver = served.mail(), served.receiver
    before = len(receiver.on(served.path))
    receiver.script(served.path, Answer(503, {"Retry-After": "3"}))
    mail.deliver(MAIL)
    receiver.wait(lambda: len(receiver.on(served.path)) > before)
    clock.step(-YEAR)
    mail.wait(1)
    first, second = receiver.on(served.path)[before:before + 2]
    assert second.id == first.id
    assert second.arrived - first.arrived > 2.8
