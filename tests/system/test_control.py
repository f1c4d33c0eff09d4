"""mailhookctl on a daemon that has something to tell: dead letters, history,
long lists, a changed configuration with a full queue."""

import fcntl
import itertools
import json
import os
import pty
import re
import signal
import socket
import struct
import subprocess
import termios
import time

import pytest

from harness import build
from harness.clients import message
from harness.dialect import Namespace
from harness.expect import encode_user, mailbox_url
from harness.receiver import Answer
from test_daemon import (USERS, deliver, deliver_through_reload, records,
                         same_forever)

MAIL = message()
QUICK = {"retry_first": '"50ms"', "retry_max": '"100ms"'}
COMMANDS = ("check status test tail show queue dead retry drop replay resync "
            "pause resume reload secret").split()
_number = itertools.count(1)


def wait_for(condition, what):
    end = time.monotonic() + 60
    while True:
        value = condition()
        if value:
            return value
        assert time.monotonic() < end, f"not: {what}"
        time.sleep(0.05)


def rows(dovecot, command, *arguments):
    out = dovecot.ctl("--json", command, *arguments).stdout
    return [json.loads(line) for line in out.splitlines()]


def status_of(dovecot, endpoint):
    [one] = [one for one in dovecot.ask("status")["endpoints"]
             if one["name"] == endpoint]
    return one


def new_id(at_ms):
    """A UUIDv7, ascending."""
    n = next(_number)
    return (f"{at_ms >> 16:08x}-{at_ms & 0xffff:04x}-7{n >> 12 & 0xfff:03x}-"
            f"8{n & 0xfff:03x}-{os.urandom(6).hex()}")


def append(dovecot, count, owners, ago_s=0):
    """As mail processes do, but without their mail: records in the journal.
    Their ids, in order."""
    at = int((time.time() - ago_s) * 1000)
    text = time.strftime("%Y-%m-%dT%H:%M:%S.", time.gmtime(at / 1000)) + \
        f"{at % 1000:03d}+00:00"
    made, octets = [], b""
    for n in range(count):
        owner = owners[n % len(owners)]
        made.append(new_id(at))
        octets += b"\x1e" + json.dumps({
            "id": made[-1], "type": "MailboxCreate", "time": text,
            "user": owner, "owner": owner, "mailbox": "Box",
            "data": {"uri": mailbox_url(owner, "Box"), "timestamp": text,
                     "user": owner}}).encode() + b"\n"
    with open(dovecot.state / "journal", "ab", buffering=0) as journal:
        journal.write(octets)
    return made


@pytest.fixture(scope="module")
def server(serve):
    """Its daemon is Dovecot's; endpoints come and go with the tests."""
    return serve()


@pytest.fixture
def endpoint(server, receiver):
    """A maker of endpoints: endpoint(name, **keys) gives the path. They go
    with the test."""
    configuration = server.configuration
    before = dict(configuration.endpoints)

    def make(name, **keys):
        path = configuration.add(name, **{**QUICK, **keys})
        configuration.apply()
        return path

    yield make
    gone = set(configuration.endpoints) - set(before)
    configuration.endpoints = before
    configuration.apply()
    for name in gone:
        assert server.dovecot.ask("drop", endpoint=name)["ok"]


def ctl(server, *arguments):
    return server.dovecot.ctl(*arguments, check=False)


def make_dead(server, receiver, path, name, count,
              body=b"no such user \x1b[31m\xc2\x9bhere\n"):
    """Events of u1@dead… that die while u2@dead… is accepted; their ids.
    Nothing else is under way then, the Gaps neither."""
    bad = f"u1@{name}.example"
    receiver.script(path, choose=lambda r: Answer(422, body=body)
                    if r.owner == encode_user(bad) and
                    "Gap" not in r.type else None)
    ids = append(server.dovecot, count, [bad])
    came = set()
    for _ in range(600):
        came.update(append(server.dovecot, 1, [f"u2@{name}.example"]))
        if status_of(server.dovecot, name)["dead"] == count:
            break
        time.sleep(0.05)
    receiver.wait(lambda: came <= {r.id for r in receiver.answered(path)} and
                  sum("Gap" in r.type for r in receiver.answered(path)) ==
                  count, what="the others and the Gaps")
    assert {row["id"] for row in rows(server.dovecot, "dead", name)} == \
        set(ids)
    return ids


@pytest.mark.made_up_events
def test_dead_letters(server, endpoint, receiver):
    """Listed, looked at, sent again, forgotten: one, some, all."""
    path = endpoint("dead", give_up='"300ms"',
                    headers='{"X-Key: very secret"}')
    ids = make_dead(server, receiver, path, "dead", 4)
    first = next(r for r in receiver.on(path) if r.id == ids[0])
    gaps = [r for r in receiver.answered(path) if "Gap" in r.type]
    assert [g.data["vnd.mailhook.sequences"] for g in gaps] == \
        [str(next(r for r in receiver.on(path) if r.id == one).sequence)
         for one in ids]

    # What it was, what it would be, and what the receiver said.
    shown = json.loads(ctl(server, "--json", "show", ids[0], "dead").stdout)
    [one] = shown["deliveries"]
    assert (shown["type"], shown["owner"], shown["in_journal"]) == \
        ("MailboxCreate", "u1@dead.example", True)
    assert one["state"] == "dead" and one["sequence"] == first.sequence
    assert one["last_status"] == 422 and one["attempts"] > 1
    assert one["answer"] == "no such user \x1b[31m\x9bhere\n"
    assert one["request"]["body"].encode() == first.body
    headers = dict(line.split(": ", 1) for line in one["request"]["headers"])
    assert headers["webhook-id"] == ids[0]
    assert headers["mailhook-replay"] == "true"
    assert headers["X-Key"] == "(hidden)"
    assert "mailhook-floor" not in headers
    text = ctl(server, "show", ids[0]).stdout
    assert "given up (dead letter)" in text and "very secret" not in text
    assert "no such user ?[31m?here\n" in text
    assert not re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f]", text)

    # Refused once more it stays what it is.
    came = len(receiver.on(path))
    again = ctl(server, "retry", "dead", ids[0])
    assert again.returncode == 1 and "1 failed" in again.stdout
    assert ids[0] in again.stdout
    assert len(receiver.on(path)) == came + 1
    assert status_of(server.dovecot, "dead")["dead"] == 4
    assert ctl(server, "retry", "dead", "--all", "--dry-run").stdout == \
        "dead: 4 would be sent\n"
    assert len(receiver.on(path)) == came + 1

    receiver.script(path)
    again = ctl(server, "retry", "dead", ids[0])
    assert again.returncode == 0 and "1 answered" in again.stdout
    last = receiver.on(path)[-1]
    assert (last.id, last.body) == (first.id, first.body)
    assert last.headers["mailhook-replay"] == "true" and last.floor is None

    # By what they are; which is told, and counted.
    assert ctl(server, "drop", "dead", "--user", "u2*").stdout == \
        "dead: 0 dead letters dropped\n"
    assert ctl(server, "drop", "dead", "--until", "1h").stdout == \
        "dead: 0 dead letters dropped\n"
    assert ctl(server, "drop", "dead", ids[1]).stdout == \
        f"dead: {ids[1]} dropped\n"
    assert [row["id"] for row in rows(server.dovecot, "dead", "dead",
                                      "--user", "u1@*")] == ids[2:]
    assert rows(server.dovecot, "dead", "dead", "--type", "MessageNew") == []
    again = ctl(server, "retry", "dead", "--type", "MailboxCreate")
    assert again.returncode == 0 and "2 answered, 0 failed" in again.stdout
    assert [r.id for r in receiver.on(path)[-2:]] == ids[2:]
    assert ctl(server, "dead", "dead").stdout == "none\n"
    assert status_of(server.dovecot, "dead")["dead"] == 0


@pytest.mark.made_up_events
def test_dropping_many_leaves_others(server, endpoint, receiver):
    path = endpoint("many", give_up='"300ms"')
    make_dead(server, receiver, path, "many", 5)
    assert ctl(server, "drop", "many", "--all").stdout == \
        "many: 5 dead letters dropped\n"
    assert status_of(server.dovecot, "many")["dead"] == 0
    for command in ("drop", "retry"):
        assert ctl(server, command, "nobody", "--all").returncode == 1
    [none] = rows(server.dovecot, "drop", "many", "--all")
    assert none == {"ok": True, "dropped": 0}


@pytest.mark.made_up_events
def test_many_that_wait(server, endpoint, receiver):
    """Tried now, or given up with a Gap each; not by what is meant for dead
    letters, and nobody else's."""
    path = endpoint("waits", retry_first='"1h"', retry_max='"1h"')
    owners = [f"w{n}@waits.example" for n in range(4)]
    refused = {encode_user(owner) for owner in owners[:3]}
    receiver.script(path, choose=lambda r: Answer(500)
                    if r.owner in refused and "Gap" not in r.type else None)
    # One is accepted before each is refused: no outage.
    ids = []
    for owner in owners[:3]:
        append(server.dovecot, 2, owners[3:])
        ids += append(server.dovecot, 10, [owner])
    wait_for(lambda: status_of(server.dovecot, "waits")["parked"] == 30,
             "all are parked")
    receiver.wait(lambda: len(receiver.answered(path)) == 6)
    assert ctl(server, "drop", "waits", "--all").stdout == \
        "waits: 0 dead letters dropped\n"
    assert ctl(server, "drop", "waits", "--user", "nobody", "--waiting"
               ).stdout == "waits: 0 waiting events dropped\n"
    assert ctl(server, "retry", "waits", "--all", "--waiting", "--dry-run"
               ).stdout == "waits: 30 wait\n"
    for arguments in (["drop", "waits", "--waiting"],
                      ["drop", "waits", ids[0], "--waiting"],
                      ["retry", "waits", ids[0], "--waiting"]):
        assert ctl(server, *arguments).returncode == 2
    assert ctl(server, "drop", "nobody", "--all", "--waiting"
               ).returncode == 1
    came = len(receiver.on(path))
    # Of each owner the first.
    assert ctl(server, "retry", "waits", "--user", owners[1], "--waiting"
               ).stdout == "waits: 10 wait, of which 1 are tried now\n"
    receiver.wait(lambda: len(receiver.on(path)) == came + 1)
    assert receiver.on(path)[-1].id == ids[10]

    [done] = rows(server.dovecot, "drop", "waits", "--user", owners[1],
                  "--waiting")
    assert done == {"ok": True, "found": 10, "dropped": 10, "left": 0}
    numbers = {r.id: r.sequence for r in receiver.on(path)}
    receiver.wait(lambda: len(receiver.answered(path)) == 16)
    assert status_of(server.dovecot, "waits")["dead"] == 0
    assert ctl(server, "drop", "waits", "--type", "MailboxCreate",
               "--waiting").stdout == "waits: 20 waiting events dropped\n"
    wait_for(lambda: (status_of(server.dovecot, "waits")["parked"],
                      status_of(server.dovecot, "waits")["floor"]) == (0, 66),
             "all Gaps are answered")
    gaps = [r for r in receiver.answered(path) if "Gap" in r.type]
    assert {r.data["vnd.mailhook.reason"] for r in gaps} == \
        {"dropped by the administrator"}
    named = {owner: [int(r.data["vnd.mailhook.sequences"]) for r in gaps
                     if r.owner == owner] for owner in refused}
    for n, owner in enumerate(owners[:3]):
        assert sorted(named[encode_user(owner)]) == list(
            range(12 * n + 3, 12 * n + 13))
    assert numbers[ids[10]] == 15
    # Who comes next is not held up.
    receiver.script(path)
    after = append(server.dovecot, 3, owners[:3])
    receiver.wait(lambda: set(after) <= {r.id for r in
                                         receiver.answered(path)})


@pytest.mark.made_up_events
def test_show_says_where_an_event_stands(server, endpoint, receiver):
    path = endpoint("show", concurrency="1")
    other = endpoint("fussy", events='{"MessageNew"}')
    receiver.script(path, choose=lambda r: Answer(500)
                    if r.owner == encode_user("a@show.example") else None)

    def state(one, name="show"):
        shown = json.loads(ctl(server, "--json", "show", one, name).stdout)
        return shown["deliveries"][0]

    first, second = append(server.dovecot, 2, ["a@show.example"])
    wait_for(lambda: status_of(server.dovecot, "show")["parked"] == 2,
             "both are parked")
    assert state(first)["state"] in ("retrying", "sending")
    held = state(second)
    assert (held["state"], held["held_by"]) == ("held", first)
    assert state(first, "fussy")["state"] == "unwanted"
    [delivered] = append(server.dovecot, 1, ["b@show.example"])
    receiver.wait(lambda: [r for r in receiver.answered(path)
                           if r.id == delivered])
    wait_for(lambda: state(delivered)["state"] == "passed", "it has passed")
    ctl(server, "pause", "show")
    [unread] = append(server.dovecot, 1, ["b@show.example"])
    wait_for(lambda: state(unread)["state"] in ("unread", "waiting"),
             "the new one is seen")
    ctl(server, "resume", "show")
    # In its event's place, not at the end of all there is.
    assert "in the journal" in ctl(server, "show", new_id(1000)).stderr
    assert ctl(server, "show", "nonsense").returncode == 1
    assert ctl(server, "show", first, "nobody").returncode == 1
    assert receiver.on(other) == []
    # The next attempt comes now, and the one behind it after it.
    receiver.script(path)
    assert "next attempt" in ctl(server, "retry", "show", first).stdout or \
        state(first)["state"] in ("answered", "passed")
    receiver.wait(lambda: {first, second} <= {
        r.id for r in receiver.answered(path)})


def replayed(requests):
    return [r for r in requests if "mailhook-replay" in r.headers]


def test_replay(server, endpoint, receiver):
    """Same ids and bodies but for the number, each owner's in order, and
    nothing else is touched."""
    users = [f"r{n}@replay.example" for n in range(4)]
    path = endpoint("replay", users='{"r*@replay.example"}',
                    events='{"MessageNew"}')
    deliver(server.dovecot, 10, users)
    receiver.wait(lambda: len(receiver.answered(path)) == 40)
    live = receiver.answered(path)
    wait_for(lambda: status_of(server.dovecot, "replay")["floor"] == 40 and
             "40 would be sent" in ctl(server, "replay", "replay", "--since",
                                       "1h", "--dry-run").stdout,
             "the cursor has passed all")
    before = status_of(server.dovecot, "replay")
    assert len(receiver.on(path)) == 40
    done = ctl(server, "replay", "replay", "--since", "1h")
    assert done.returncode == 0, done.stderr
    assert "40 found, 40 answered, 0 failed" in done.stdout
    again = receiver.on(path)[40:]
    assert sorted(r.id for r in again) == sorted(r.id for r in live)
    by_id = {r.id: r for r in live}
    for request in again:
        assert request.valid and request.floor is None
        assert request.headers["mailhook-replay"] == "true"
        assert request.event == {**by_id[request.id].event,
                                 "sequence": "0" * 20}
    for user in users:
        assert [r.id for r in again if r.owner == encode_user(user)] == \
            [r.id for r in live if r.owner == encode_user(user)]
    for name in ("sequence", "floor", "answered", "failed", "state",
                 "parked", "dead", "stream"):
        assert status_of(server.dovecot, "replay")[name] == before[name]

    # Some of it.
    middle = live[20].event["time"]
    for options, wanted in (
            (["--user", users[1]], [r for r in live
                                    if r.owner == encode_user(users[1])]),
            (["--user", "!" + users[1]],
             [r for r in live if r.owner != encode_user(users[1])]),
            (["--type", "MailboxCreate"], []),
            (["--until", "1m"], []),
            (["--until", middle], [r for r in live
                                   if r.event["time"] <= middle])):
        count = len(receiver.on(path))
        done = ctl(server, "replay", "replay", "--since", "1h", *options)
        assert done.returncode == 0, done.stderr
        assert sorted(r.id for r in receiver.on(path)[count:]) == \
            sorted(r.id for r in wanted), options
    count = len(receiver.on(path))
    done = ctl(server, "replay", "replay", "--since", middle)
    assert sorted(r.id for r in receiver.on(path)[count:]) == sorted(
        r.id for r in live if r.event["time"] >= middle)
    # Live delivery numbers on.
    deliver(server.dovecot, 1, users[:1])
    receiver.wait(lambda: [r for r in receiver.on(path)
                           if r.sequence == 41])


@pytest.mark.parametrize("form", ["cloudevents-binary", "cloudevents-batch",
                                  "standard", "cyrus"])
def test_replay_in_every_format(server, endpoint, receiver, form):
    """The events are as they were; of batches each has one to itself."""
    users = [f"f{n}@{form}.example" for n in range(2)]
    path = endpoint("form", users=f'{{"*@{form}.example"}}', format=f'"{form}"',
                    events='{"MessageNew"}', compress="true")

    def events(requests):
        return [event for r in requests for event in r.events]

    deliver(server.dovecot, 3, users)
    receiver.wait(lambda: len(events(receiver.answered(path))) == 6)
    live = {event["id"]: event for event in events(receiver.on(path))}
    wait_for(lambda: "6 would" in ctl(server, "replay", "form", "--since",
                                      "1h", "--dry-run").stdout,
             "the cursor has passed all")
    count = len(receiver.on(path))
    done = ctl(server, "replay", "form", "--since", "1h")
    assert "6 found, 6 answered" in done.stdout, done.stderr
    again = receiver.on(path)[count:]
    assert all(r.valid and r.floor is None and
               r.headers["mailhook-replay"] == "true" for r in again)
    assert [len(r.events) for r in again] == [1] * 6
    assert {event["id"]: event for event in events(again)} == {
        key: {**event, "sequence": "0" * 20} for key, event in live.items()}


@pytest.mark.made_up_events
def test_replay_tells_what_was_refused(server, endpoint, receiver):
    path = endpoint("refuses")
    ids = append(server.dovecot, 30, ["a@refuses.example",
                                      "b@refuses.example"])
    receiver.wait(lambda: len(receiver.answered(path)) >= 30)
    receiver.script(path, choose=lambda r: Answer(404)
                    if r.id == ids[10] else None)
    wait_for(lambda: "30 would" in ctl(
        server, "replay", "refuses", "--since", "1m", "--user",
        "*refuses.example", "--dry-run").stdout, "the cursor has passed all")
    count = len(receiver.on(path))
    lines = ctl(server, "--json", "replay", "refuses", "--since", "1m",
                "--user", "*refuses.example")
    assert lines.returncode == 1
    lines = [json.loads(line) for line in lines.stdout.splitlines()]
    assert [one["refused"]["id"] for one in lines if "refused" in one] == \
        [ids[10]]
    assert lines[-1]["ended"] and lines[-1]["failed"] == 1
    assert lines[-1]["answered"] == 29
    again = [r.id for r in receiver.on(path)[count:]]
    assert again.count(ids[10]) == 3 and len(again) == 32
    # Its owner's next ones came behind it, the others' did not wait.
    assert [one for one in again if one in ids[0::2] and
            one != ids[10]] == [one for one in ids[0::2] if one != ids[10]]
    assert status_of(server.dovecot, "refuses")["state"] == "ok"
    assert status_of(server.dovecot, "refuses")["failed"] == 0


def go_on(process):
    """What the ended command said how to go on, as arguments."""
    out, err = process.communicate(timeout=60)
    assert process.returncode == 4, out + err
    [command] = re.findall(r"to go on: mailhookctl (.*)", err)
    return command.replace("'", "").split()


def start_replay(dovecot, *arguments):
    return subprocess.Popen(
        [build.CTL, "--control", dovecot.control, "replay", *arguments],
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, text=True)


@pytest.mark.made_up_events
@pytest.mark.parametrize("how", ["interrupted", "daemon killed"])
def test_a_replay_that_ends_early_says_how_to_go_on(private, receiver, how):
    """And the rest is not sent again from the beginning."""
    dovecot, configuration, path = private(endpoint=QUICK)
    users = [f"s{n}@slow.example" for n in range(3)]
    ids = []
    for part in range(10):
        ids += append(dovecot, 30, users, ago_s=1000 - 60 * part)
    receiver.wait(lambda: len(receiver.answered(path)) == 300)
    wait_for(lambda: "300 would" in dovecot.ctl(
        "replay", "only", "--since", "1h", "--dry-run").stdout,
        "the cursor has passed all")
    receiver.script(path, default=Answer(delay=0.02))
    process = start_replay(dovecot, "only", "--since", "1h", "--user",
                           "*@slow.example")
    receiver.wait(lambda: len(replayed(receiver.answered(path))) > 150)
    # It has told how far it is.
    time.sleep(0.6)
    if how == "interrupted":
        process.send_signal(signal.SIGINT)
    else:
        dovecot.stop_daemon(signal.SIGKILL)
    command = go_on(process)
    if how == "daemon killed":
        dovecot.start_daemon()
    wait_for(lambda: status_of(dovecot, "only")["in_flight"] == 0,
             "what was out is answered")
    came = replayed(receiver.on(path))
    assert len(came) < 300
    time.sleep(0.2)
    assert len(replayed(receiver.on(path))) == len(came)
    receiver.script(path)
    done = dovecot.ctl(*command)
    rest = replayed(receiver.on(path))[len(came):]
    assert {r.id for r in came + rest} == set(ids)
    assert len(rest) < 250, done.stdout
    assert "--user" in command


@pytest.mark.made_up_events
def test_a_replay_waits_while_its_endpoint_is_paused(server, endpoint,
                                                     receiver):
    path = endpoint("sleepy")
    append(server.dovecot, 10, ["z@sleepy.example"])
    receiver.wait(lambda: len(receiver.answered(path)) >= 10)
    wait_for(lambda: "10 would" in ctl(
        server, "replay", "sleepy", "--since", "1m", "--user", "z@*",
        "--dry-run").stdout, "the cursor has passed all")
    ctl(server, "pause", "sleepy")
    count = len(receiver.on(path))
    process = start_replay(server.dovecot, "sleepy", "--since", "1m",
                           "--user", "z@*", "--json")
    line = json.loads(process.stdout.readline())
    while not line["waiting"]:
        line = json.loads(process.stdout.readline())
    assert line["waiting"] == "the endpoint is paused"
    assert status_of(server.dovecot, "sleepy")["replays"] == 1
    assert len(receiver.on(path)) == count
    ctl(server, "resume", "sleepy")
    out, _ = process.communicate(timeout=60)
    assert process.returncode == 0
    assert len(receiver.on(path)) == count + 10


LONG = 4000


@pytest.fixture(scope="module")
def long_queue(server, receiver):
    """Thousands of rows of one owner, whose first event is refused."""
    configuration = server.configuration
    before = dict(configuration.endpoints)
    path = configuration.add("long", users='{"*@long.example"}',
                             retry_first='"1h"', retry_max='"1h"')
    receiver.script(path, choose=lambda r: Answer(500) if
                    r.owner == encode_user("a@long.example") else None)
    configuration.apply()
    # A name that would like to be more than that.
    names = ["a@long.example"]
    ids = append(server.dovecot, LONG, names)
    wait_for(lambda: status_of(server.dovecot, "long")["parked"] == LONG,
             "all of them are parked")
    yield ids
    configuration.endpoints = before
    configuration.apply()
    assert server.dovecot.ask("drop", endpoint="long")["ok"]


@pytest.mark.made_up_events
def test_long_lists_come_in_pages(server, long_queue):
    assert [row["id"] for row in rows(server.dovecot, "queue", "long")] == \
        long_queue
    assert len(rows(server.dovecot, "queue", "long", "--user",
                    "a@*")) == LONG
    assert rows(server.dovecot, "queue", "long", "--user", "b@*") == []
    lines = ctl(server, "queue", "long").stdout.splitlines()
    assert len(lines) == LONG + 1 and lines[0].startswith("ENDPOINT")
    # One page is all that the daemon has at once.
    with socket.socket(socket.AF_UNIX) as one:
        one.connect(str(server.dovecot.control))
        one.sendall(b'{"command":"queue","endpoint":"long"}\n'
                    b'{"command":"status"}\n')
        with one.makefile("rb") as stream:
            pages = []
            while not pages or pages[-1]["more"]:
                pages.append(json.loads(stream.readline()))
            assert json.loads(stream.readline())["version"]
    assert [len(page["rows"]) for page in pages] == [500] * (LONG // 500) + [0]
    assert [page.get("ok") for page in pages] == [True] + [None] * 8


@pytest.mark.made_up_events
def test_who_does_not_read_holds_nobody_up(server, long_queue):
    """A client that stops in the middle of a list: others are served, and
    when it reads on, the rest comes."""
    with socket.socket(socket.AF_UNIX) as one:
        one.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        one.connect(str(server.dovecot.control))
        one.sendall(b'{"command":"queue","endpoint":"long"}\n')
        time.sleep(0.3)
        assert len(rows(server.dovecot, "queue", "long")) == LONG
        with one.makefile("rb") as stream:
            seen, more = [], True
            while more:
                page = json.loads(stream.readline())
                seen += [row["id"] for row in page["rows"]]
                more = page["more"]
    assert seen == long_queue
    # And one that goes away.
    for _ in range(3):
        with socket.socket(socket.AF_UNIX) as one:
            one.connect(str(server.dovecot.control))
            one.sendall(b'{"command":"queue","endpoint":"long"}\n')
            one.recv(100)
    assert server.dovecot.ask("status")["ok"]


def on_terminal(server, columns, *arguments):
    """What a terminal of this width would get."""
    try:
        main, second = pty.openpty()
    except OSError as error:
        pytest.skip(f"no pseudo-terminal: {error}")
    fcntl.ioctl(second, termios.TIOCSWINSZ,
                struct.pack("HHHH", 24, columns, 0, 0))
    process = subprocess.Popen(
        [build.CTL, "--control", server.dovecot.control, *arguments],
        stdin=subprocess.DEVNULL, stdout=second, stderr=second,
        env={**os.environ, "LC_ALL": "C.UTF-8", "TERM": "xterm"})
    os.close(second)
    got = b""
    try:
        while some := os.read(main, 65536):
            got += some
    except OSError:
        pass
    os.close(main)
    process.wait(60)
    return got.decode()


@pytest.mark.made_up_events
def test_tables_fit_and_names_stay_names(server, endpoint, receiver):
    path = endpoint("wide", give_up='"300ms"')
    receiver.script(path, choose=lambda r: Answer(
        500 if "MessageNew" in r.type or "x" == r.owner[0] else 204))
    append(server.dovecot, 1, ["x\x1b]0;owned\x07\x9b31mé@wide.example"])
    wait_for(lambda: status_of(server.dovecot, "wide")["parked"] == 1,
             "it is parked")
    wide = on_terminal(server, 300, "queue", "wide").splitlines()
    narrow = on_terminal(server, 130, "queue", "wide").splitlines()
    assert max(map(len, wide)) > 131 > max(map(len, narrow))
    for text in wide + narrow:
        assert not re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f]", text), text
    assert "é@wide.example" in wide[1]
    # Numbers end under the end of their heading.
    lines = ctl(server, "status").stdout.splitlines()
    head = next(line for line in lines if line.startswith("ENDPOINT"))
    [line] = [line for line in lines if line.startswith("wide ")]
    for name, value in (("SEQUENCE", r"\d+"), ("PARKED", "1")):
        end = head.index(name) + len(name)
        assert re.search(rf" {value}$", line[:end])
        assert line[end] == " "


@pytest.mark.made_up_events
def test_a_reload_with_a_full_queue(private, receiver):
    """Endpoints that did not change get each event once; those that changed
    lose none; one that is taken away and given back goes on where it was."""
    dovecot, configuration, _ = private(endpoint=QUICK)
    paths = {name: configuration.add(name, **QUICK)
             for name in ("same", "secret", "limits", "filters")}
    paths["away"] = configuration.add("away", concurrency="4", **QUICK)
    configuration.apply()
    for path in paths.values():
        receiver.script(path, default=Answer(delay=0.005))
    # Two minutes from done when it is taken away.
    receiver.script(paths["away"], default=Answer(delay=0.8))
    users = [f"q{n}@queue.example" for n in range(40)]
    ids = append(dovecot, 600, users)

    def count(name):
        return len(receiver.answered(paths[name]))

    def numbers(name):
        return sorted((r.sequence, r.id) for r in
                      receiver.answered(paths[name]))

    receiver.wait(lambda: count("same") > 60 and count("secret") > 0 and
                  count("away") > 0)
    endpoints = configuration.endpoints
    endpoints["secret"]["secret"] = configuration._list(
        [receiver.secrets[paths["secret"]][0]] +
        receiver.secrets.setdefault("/new", ["whsec_" + "A" * 43 + "="]))
    receiver.secrets[paths["secret"]].append(receiver.secrets["/new"][0])
    endpoints["limits"].update(concurrency="2", rate="2000",
                               timeout='"9s"')
    endpoints["filters"]["users"] = '{"!q1@queue.example", "!q2@*"}'
    away = endpoints.pop("away")
    paths["late"] = configuration.add("late", **QUICK)
    configuration.apply()
    for n in range(3):
        endpoints["limits"]["concurrency"] = str(3 + n)
        configuration.apply()
    taken = len(receiver.on(paths["away"]))
    more = append(dovecot, 200, users)
    everything = [(n, one) for n, one in enumerate(ids + more, 1)]
    for name in ("same", "secret", "limits"):
        receiver.wait(lambda: count(name) >= 800, what=name)
        assert numbers(name) == everything, name
    # Nothing more than what was out.
    assert taken <= len(receiver.on(paths["away"])) <= taken + 4 < 600
    receiver.script(paths["away"])
    endpoints["away"] = away
    configuration.apply()
    receiver.wait(lambda: count("away") >= 800)
    assert numbers("away") == everything
    # Filters: what had a number came; what had none and is not wanted any
    # more did not.
    wanted = {one for n, one in enumerate(ids + more)
              if n % 40 not in (1, 2)}
    receiver.wait(lambda: count("filters") >= len(wanted) and
                  wanted <= {r.id for r in
                             receiver.answered(paths["filters"])})
    came = [r.id for r in receiver.answered(paths["filters"])]
    assert len(came) == len(set(came)) < 800
    assert not {r.owner for r in receiver.on(paths["filters"])
                if r.id in more} & {encode_user(user) for user in users[1:3]}
    assert [r.sequence for r in receiver.answered(paths["filters"])
            if "Gap" in r.type] == []
    # An endpoint that is new begins at the journal's end.
    receiver.wait(lambda: count("late") >= 200)
    assert {r.id for r in receiver.answered(paths["late"])} <= set(more)
    both = [len(r.valid) for r in receiver.on(paths["secret"])]
    assert set(both) == {1, 2} and all(r.valid for r in
                                       receiver.on(paths["secret"]))
    for name in paths:
        same_forever(receiver.on(paths[name]))


@pytest.mark.made_up_events
def test_a_reload_waits_for_no_receiver(server, endpoint, receiver):
    """Not for one that hangs, though it is being taken away, changed or given
    back; and who is forgotten then is forgotten."""
    keys = {"timeout": '"10m"', "connect_timeout": '"10m"'}
    path = endpoint("hangs", **keys)
    receiver.script(path, default=Answer(hang=True))
    owners = [f"h{n}@hangs.example" for n in range(3)]
    ids = append(server.dovecot, 9, owners)
    receiver.wait(lambda: len(receiver.on(path)) == 3)
    endpoints = server.configuration.endpoints
    hangs = endpoints["hangs"]
    for change in ({}, {"hangs": {**hangs, "users": '{"!nobody"}'}}, {},
                   {"hangs": {**hangs, "rate": "2000"}}, {},
                   {"hangs": hangs}):
        endpoints.pop("hangs", None)
        endpoints.update(change)
        server.configuration.apply()
        assert {one["name"] for one in
                server.dovecot.ask("status")["endpoints"]} == set(endpoints)
        ids += append(server.dovecot, 3, owners)
    assert len(receiver.on(path)) == 3
    receiver.script(path)
    receiver.release()
    receiver.wait(lambda: len(receiver.answered(path)) >= len(ids))
    wait_for(lambda: status_of(server.dovecot, "hangs")["floor"] == len(ids),
             "all are counted as answered")
    assert sorted((r.sequence, r.id) for r in receiver.on(path)) == \
        list(enumerate(ids, 1))
    same_forever(receiver.on(path))
    # Forgotten while it still hangs: the next of that name is a new one.
    receiver.script(path, default=Answer(hang=True))
    append(server.dovecot, 9, owners)
    receiver.wait(lambda: len(receiver.on(path)) == len(ids) + 3)
    del endpoints["hangs"]
    server.configuration.apply()
    assert ctl(server, "drop", "hangs").returncode == 0
    assert ctl(server, "drop", "hangs").returncode == 1
    receiver.script(path)
    receiver.release()
    endpoints["hangs"] = hangs
    server.configuration.apply()
    one = status_of(server.dovecot, "hangs")
    assert (one["sequence"], one["parked"]) == (0, 0)
    [last] = append(server.dovecot, 1, owners)
    receiver.wait(lambda: receiver.on(path)[-1].id == last)
    assert len(receiver.on(path)) == len(ids) + 4


def test_resync(serve, receiver):
    """Each of the user's own mailboxes once, through the journal."""
    server = serve(namespaces=[
        Namespace("public", type="public", prefix="Public/",
                  path="{mail}/public"),
        Namespace("shared", type="shared", prefix="Shared/{owner}/",
                  path="{owner_home}/sdbox", list="children")])
    mail = server.mail()
    mail.dovecot.doveadm("mailbox", "create", "-u", mail.user, "Public/Box")
    with mail.imap() as imap:
        imap.ok("CREATE Entw&APw-rfe")
        imap.ok("CREATE Work/2026")
    uidvalidity = {}
    for name in ("INBOX", "Entwürfe", "Work/2026"):
        out = mail.dovecot.doveadm("-f", "flow", "mailbox", "status", "-u",
                                   mail.user, "uidvalidity", name).stdout
        uidvalidity[name] = int(re.search(r"uidvalidity=(\d+)", out)[1])
    mail.take()

    def resyncs(*arguments):
        done = mail.dovecot.ctl("resync", mail.user, *arguments,
                                "--dovecot", mail.dovecot.conf)
        came = mail.take()
        assert {r.type for r in came} == {"vnd.mailhook.Resync"}
        assert [line.split()[0] for line in done.stdout.splitlines()] == \
            [r.id for r in came]
        return came

    came = resyncs()
    assert {r.data["mailboxID"] for r in came} >= {
        mailbox_url(mail.user, name, number)
        for name, number in uidvalidity.items()}
    assert not [r for r in came
                if r.data["vnd.mailhook.mailbox"].startswith("Public")]
    # From the beginning.
    assert {(r.data["uidnext"], r.data["modseq"]) for r in came} == {(1, 1)}
    [one] = resyncs("--mailbox", "Entwürfe")
    assert one.data["mailboxID"] == mailbox_url(
        mail.user, "Entwürfe", uidvalidity["Entwürfe"])
    assert "administrator" in one.data["vnd.mailhook.reason"]
    [one] = resyncs("--all")
    assert not {"mailboxID", "uidnext", "modseq"} & set(one.data)
    refused = mail.dovecot.ctl("resync", mail.user, "--mailbox", "Nothing",
                               "--dovecot", mail.dovecot.conf, check=False)
    assert refused.returncode == 1 and mail.take() == []
    nobody = mail.dovecot._run(
        [build.CTL, "--control", mail.dovecot.control, "resync", mail.user],
        True, 60, environment={"PATH": "/nowhere"})
    assert "no doveadm" in nobody.stderr
    [one] = mail.take()
    assert "mailboxID" not in one.data
    # In the journal they are there once.
    written = [one for one in records(mail.dovecot)
               if one["type"] == "vnd.mailhook.Resync"]
    assert len({one["cause"] for one in written}) == len(written)
    assert len(written) == len(came) + 3


def test_taking_mailhook_away(private, receiver):
    """doc/administration.md, step by step: nothing is lost, mail goes on, and who
    comes back goes on where it ended."""
    dovecot, _, path = private(daemon="service", endpoint=QUICK)
    before = dovecot.conf.read_text()
    deliver(dovecot, 2)
    receiver.wait(lambda: len(receiver.answered(path)) == 8)
    dovecot.ctl("pause", "only")
    deliver(dovecot, 3)

    def reload(text):
        dovecot.conf.write_text(text)
        pids = dovecot.daemon_pids()
        dovecot.reload()
        wait_for(lambda: not set(pids) & set(dovecot.daemon_pids()),
                 "the daemon of before has left")

    # 1: the plugin goes, the daemon stays.
    quiet = dovecot.top / "etc" / "11-mailhook.conf"
    shipped = build.SHIPPED_CONF.read_text()
    without = re.sub(r"(?m)^mail_plugins( =.*| \{[^}]*\})$", "", shipped)
    assert without != shipped
    quiet.write_text(without)
    reload(before.replace(str(build.SHIPPED_CONF), str(quiet)))
    dovecot.wait_daemon()
    deliver_through_reload(dovecot, 2)
    # 2: what is left is delivered.
    assert len(receiver.on(path)) == 8
    dovecot.ctl("resume", "only")
    wait_for(lambda: (status_of(dovecot, "only")["behind_ms"],
                      status_of(dovecot, "only")["parked"]) == (0, 0) and
             len(receiver.answered(path)) == 20, "all is delivered")
    assert rows(dovecot, "dead") == []
    # 3: the daemon goes; 4: the files.
    reload(before.replace(dovecot._mailhook(), ""))
    assert dovecot.daemon_pids() == []
    module = dovecot.top / "modules" / build.PLUGIN.name
    module.unlink()
    deliver_through_reload(dovecot, 1)
    with dovecot.imap(USERS[0]) as imap:
        assert imap.status("INBOX")["messages"] == 8
    assert len(receiver.on(path)) == 20
    # 5: what remains.
    assert (dovecot.state / "journal").exists()
    # And back.
    module.symlink_to(build.PLUGIN)
    dovecot.conf.write_text(before)
    dovecot.reload()
    dovecot.wait_daemon()
    deliver_through_reload(dovecot, 1)
    receiver.wait(lambda: len(receiver.answered(path)) >= 24)
    requests = receiver.on(path)
    assert sorted(r.sequence for r in requests) == list(range(1, 25))
    assert len({r.event["stream"] for r in requests}) == 1
    assert not [r for r in requests if "Gap" in r.type]


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help_with_an_example(command):
    out = subprocess.run([build.CTL, command, "--help"], check=True,
                         stdout=subprocess.PIPE, text=True).stdout
    assert out.startswith(f"Usage: mailhookctl {command}")
    assert re.search(rf"Examples?:\n  mailhookctl .*{command}", out)
    general = subprocess.run([build.CTL, "--help"], check=True,
                             stdout=subprocess.PIPE, text=True).stdout
    assert re.search(rf"^  (pause, )?{command}\b", general, re.M)


@pytest.mark.parametrize("arguments,code", [
    (["dead", "nobody"], 1), (["queue", "nobody"], 1), (["dead"], 0),
    (["replay", "all"], 2), (["replay", "all", "--since", "yesterday"], 2),
    (["replay", "nobody", "--since", "1h"], 1),
    (["replay", "all", "--since", "1h", "--type", "Nonsense"], 1),
    (["retry", "all"], 2), (["retry", "all", "x", "--all"], 2),
    (["retry", "all", "01990000-0000-7000-8000-000000000000"], 1),
    (["drop", "all"], 1), (["drop", "all", "x", "--all"], 2),
    (["status", "--since", "1h"], 2), (["show"], 2), (["resync"], 2),
    (["show", "01990000-0000-7000-8000-000000000000"], 1),
    (["dead", "--type", "Nonsense"], 1), (["dead", "--help"], 0)])
def test_exit_codes(server, arguments, code):
    done = ctl(server, *arguments)
    assert done.returncode == code, done.stdout + done.stderr
    if code:
        assert re.match(r"mailhookctl: .+", done.stderr), done.stderr


def test_completion(server, endpoint):
    endpoint("complete-me")
    script = build.ROOT / "share" / "bash-completion" / "completions" / \
        "mailhookctl"

    def complete(*words):
        line = " ".join(f"'{word}'" for word in words)
        out = subprocess.run(
            ["bash", "-c", f"""
            . "{script}"
            COMP_WORDS=({line})
            COMP_CWORD={len(words) - 1}
            _mailhookctl
            printf '%s\\n' "${{COMPREPLY[@]}}" """],
            check=True, stdout=subprocess.PIPE, text=True,
            env={**os.environ, "MAILHOOK_CONTROL":
                 str(server.dovecot.control)}).stdout
        return set(out.split())

    program = str(build.CTL)
    assert complete(program, "") == {*COMMANDS, "help"}
    assert complete(program, "re") == {"retry", "replay", "resync", "resume",
                                       "reload"}
    assert complete(program, "pause", "comp") == {"complete-me"}
    assert "all" in complete(program, "--json", "replay", "")
    assert "--since" in complete(program, "replay", "all", "--s")
    assert complete(program, "status", "--s") == set()
    assert complete(program, "tail", "--type", "MessageN") == {"MessageNew"}
    assert complete(program, "--control", str(server.dovecot.control),
                    "resume", "complete") == {"complete-me"}
    # What it offers is what there is.
    for command in COMMANDS:
        for option in complete(program, command, "--"):
            if option in ("--help", "--version"):
                continue
            value = [] if option in ("--json", "--all", "--dry-run",
                                     "--ed25519") else ["1h"]
            done = subprocess.run(
                [build.CTL, "--control", "/nowhere", command, option, *value],
                text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
            assert "takes no" not in done.stderr, (command, option)
            assert "option" not in done.stderr, (command, option)
