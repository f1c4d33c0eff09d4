"""Thousands of events waiting: memory that does not grow with them, other
endpoints that notice nothing, kill -9 in between. The daemon alone, fed and
received by the benchmarks' programs; tests/bench/backlog is the same with a
million."""

import os
import pathlib
import signal
import subprocess
import sys
import time

import pytest

from harness import build

sys.path.insert(0, str(build.SOURCE / "tests" / "bench"))

import lab  # noqa: E402

SANITIZED = bool(os.environ.get("MAILHOOK_SANITIZE"))
EVENTS = 10000
OWNERS = 2000


@pytest.fixture(scope="module")
def tools():
    subprocess.run(["make", "-s", "-C", build.BUILD, "bench-tools"],
                   check=True)


@pytest.fixture
def sink(tools):
    one = lab.Sink()
    yield one
    one.stop()


@pytest.fixture
def daemon(sink, request):
    """Endpoints `well` and `sick`; the test says what sick's receiver does."""
    keys = {"retry_first": '"100ms"', "retry_max": '"500ms"'}
    one = lab.Daemon(
        {"well": (sink.url("/ok/well"), {"concurrency": 16}),
         "sick": (sink.url("/sick"), {**keys, "timeout": '"10m"'})},
        {"metrics": '""'}, binary=build.DAEMON)
    for path in ("/ok/well", "/sick"):
        sink.reset(path)
    sink.mode("/sick", request.param)
    one.start()
    yield one
    one.remove()


def anonymous(daemon):
    """Octets of memory that are its own."""
    for line in pathlib.Path(
            f"/proc/{daemon.process.pid}/status").read_text().splitlines():
        if line.startswith("RssAnon"):
            return int(line.split()[1]) * 1024
    raise AssertionError("no RssAnon")


def until(condition, what):
    """The time-out only says that it hangs."""
    end = time.monotonic() + 120
    while not condition():
        assert time.monotonic() < end, what
        time.sleep(0.05)


def complete(sink, path, events):
    """Every number up to that came, and none beyond."""
    until(lambda: sink.stats(path)["distinct"] >= events,
          f"{path}: {events} events")
    stats = sink.stats(path)
    assert (stats["distinct"], stats["highest"]) == (events, events), stats


@pytest.mark.parametrize("daemon", ["/hang"], indirect=True)
def test_a_hanging_endpoint_costs_the_others_nothing(daemon, sink):
    """A's connections are taken and its backlog grows; B has everything."""
    daemon.feed(EVENTS, OWNERS, batch=100)
    complete(sink, "/ok/well", EVENTS)
    before = anonymous(daemon)
    daemon.feed(EVENTS, OWNERS, batch=100)
    complete(sink, "/ok/well", 2 * EVENTS)
    stats = sink.stats("/sick")
    assert (stats["requests"], stats["answered"]) == (8, 0)
    status = daemon.status()["sick"]
    assert status["in_flight"] == 8
    assert status["behind_octets"] > EVENTS * 1000
    # As many again wait, and nothing was kept of them.
    assert SANITIZED or anonymous(daemon) < before + 1024 * 1024
    # One by one too: nothing of B waits for anything of A.
    daemon.feed(200, OWNERS)
    complete(sink, "/ok/well", 2 * EVENTS + 200)


@pytest.mark.parametrize("daemon", ["/fail"], indirect=True)
def test_a_backlog_through_outage_and_kill(daemon, sink):
    """An outage, then an endpoint that refuses one owner in ten, each of
    them killed; then it is well, and has every number."""
    daemon.feed(EVENTS, OWNERS, batch=100)
    complete(sink, "/ok/well", EVENTS)
    before = anonymous(daemon)
    daemon.feed(EVENTS, OWNERS, batch=100)
    complete(sink, "/ok/well", 2 * EVENTS)
    assert SANITIZED or anonymous(daemon) < before + 1024 * 1024
    daemon.stop(signal.SIGKILL)
    sink.mode("/sick", "/tenth")
    daemon.start()
    # While it catches up.
    until(lambda: sink.stats("/sick")["distinct"] > EVENTS / 2,
          "half of it")
    daemon.stop(signal.SIGKILL)
    daemon.start()

    def parked():
        status = daemon.status()["sick"]
        return (status["parked"] == 2 * EVENTS // 10 and
                status["behind_octets"] == 0)

    until(parked, f"one in ten parked: {daemon.status()['sick']}")
    # Nobody but those owners is held back; what was read last may be out.
    until(lambda: sink.stats("/sick")["distinct"] == 2 * EVENTS * 9 // 10,
          f"all others: {sink.stats('/sick')}")
    daemon.stop(signal.SIGKILL)
    daemon.start()
    daemon.feed(200, OWNERS)
    complete(sink, "/ok/well", 2 * EVENTS + 200)
    sink.mode("/sick", "/ok")
    complete(sink, "/sick", 2 * EVENTS + 200)
    until(lambda: daemon.status()["sick"]["state"] == "ok", "it is well")
