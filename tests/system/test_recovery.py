"""What the daemon does when its files, its directory or its configuration are
not what they were. Each test has a server of its own; mail always goes on."""

import json
import os
import select
import shutil
import signal
import socket
import sqlite3
import subprocess
import time

import pytest

from conftest import STORE_EVENTS
from harness.clients import message
from harness.expect import encode_user
from harness.receiver import Answer
from test_daemon import (RS, USERS, all_came, deliver, run_daemon,
                         same_forever)
from test_delivery import in_order, uid

MAIL = message()
QUICK = {"retry_first": '"50ms"', "retry_max": '"200ms"'}


def sequences(request):
    """The numbers a Gap names."""
    text = request.data.get("vnd.mailhook.sequences")
    if text is None:
        return set()
    first, _, last = text.partition("-")
    return set(range(int(first), int(last or first) + 1))


def is_gap(request):
    return request.type == "vnd.mailhook.Gap"


def floors_are_true(requests):
    """As a receiver sees it: every number up to the floor was answered 2xx,
    or named by a Gap that was."""
    known = {}
    for request in requests:
        if request.sequence == 0:
            continue
        stream = known.setdefault(request.event["stream"], set())
        missing = set(range(1, request.floor + 1)) - stream
        assert not missing, (request.sequence, request.floor, missing)
        if 200 <= request.answered < 300:
            stream.add(request.sequence)
            if is_gap(request):
                stream |= sequences(request)
    return known


def copy_ledger(dovecot, to):
    to.mkdir(exist_ok=True)
    for one in dovecot.state.glob("ledger.db*"):
        shutil.copy2(one, to / one.name)


def restore_ledger(dovecot, copy):
    owner = dovecot.state.stat()
    for one in dovecot.state.glob("ledger.db*"):
        one.unlink()
    for one in copy.iterdir():
        shutil.copy2(one, dovecot.state / one.name)
        os.chown(dovecot.state / one.name, owner.st_uid, owner.st_gid)


def add_second(configuration, **keys):
    return configuration.add("second", **{**QUICK, **keys})


def wait_for(condition, what):
    end = time.monotonic() + 60
    while True:
        value = condition()
        if value:
            return value
        assert time.monotonic() < end, f"not: {what}"
        time.sleep(0.05)


@pytest.mark.parametrize("when", ["stopped", "running"])
def test_a_ledger_from_yesterday_begins_new_streams(
        private, receiver, tmp_path, when):
    """What it numbered since the copy was made is not known: nothing is sent
    under the old stream again, nothing is skipped, and a Gap says so. The
    copy may also have been made while the daemon that goes on ran."""
    dovecot, configuration, path = private(endpoint=QUICK)
    other = add_second(configuration)
    configuration.apply()
    broken = [True]
    receiver.script(path, choose=lambda r: Answer(500) if broken[0] and
                    r.owner == encode_user(USERS[0]) else None)
    deliver(dovecot, 3)
    all_came(receiver, path, 3, USERS[1:])
    all_came(receiver, other, 3)
    wait_for(lambda: dovecot.ask("queue", endpoint="only")["rows"],
             "the failing owner's events are parked")
    if when == "stopped":
        dovecot.stop_daemon()
        copy_ledger(dovecot, tmp_path / "copy")
        dovecot.start_daemon()
    else:
        # A cursor that is to be committed is within a second.
        time.sleep(1.5)
        copy_ledger(dovecot, tmp_path / "copy")
        configuration.apply()
    broken[0] = False
    deliver(dovecot, 2)
    all_came(receiver, path, 5)
    all_came(receiver, other, 5)
    dovecot.stop_daemon(signal.SIGKILL)
    restore_ledger(dovecot, tmp_path / "copy")
    streams = {one: receiver.on(one)[0].event["stream"]
               for one in (path, other)}
    count = {one: len(receiver.on(one)) for one in (path, other)}
    dovecot.start_daemon()
    deliver(dovecot, 1)
    assert "older than the rest" in dovecot.log()
    for one in (path, other):
        all_came(receiver, one, 6)
        after = receiver.on(one)[count[one]:]
        [stream] = {r.event["stream"] for r in after}
        assert stream != streams[one]
        [gap] = [r for r in after if is_gap(r)]
        assert "restored" in gap.data["vnd.mailhook.reason"]
        # Everything since the copy, and whatever was waiting in it.
        came = {(r.owner, uid(r)) for r in after if not is_gap(r)}
        assert came >= {(encode_user(user), n) for user in USERS
                        for n in (4, 5, 6)}
        if one == path:
            assert came >= {(encode_user(USERS[0]), n) for n in (1, 2, 3)}
        last = {}
        for request in after:
            if not is_gap(request):
                assert uid(request) > last.get(request.owner, 0)
                last[request.owner] = uid(request)
        floors_are_true(after)
        same_forever(after)
        # Whole: what was sent and what the Gap names, no hole between.
        numbers = {r.sequence for r in after} | sequences(gap)
        assert numbers == set(range(1, max(numbers) + 1))
    # Only once: the ledger is in force again.
    dovecot.stop_daemon()
    count = len(receiver.on(path))
    dovecot.start_daemon()
    deliver(dovecot, 1)
    receiver.wait(lambda: len(receiver.on(path)) >= count + len(USERS))
    assert {(r.owner, uid(r)) for r in receiver.on(path)[count:]} == \
        {(encode_user(user), 7) for user in USERS}


def test_an_endpoint_that_comes_back_after_a_restore(
        private, receiver, tmp_path):
    """A cursor kept for an endpoint that was not configured at that start is
    as old as the others."""
    dovecot, configuration, path = private(endpoint=QUICK)
    other = add_second(configuration)
    configuration.apply()
    deliver(dovecot, 1)
    all_came(receiver, other, 1)
    kept = configuration.endpoints.pop("second")
    dovecot.stop_daemon()
    copy_ledger(dovecot, tmp_path / "copy")
    dovecot.start_daemon()
    deliver(dovecot, 1)
    all_came(receiver, other, 2)
    dovecot.stop_daemon()
    restore_ledger(dovecot, tmp_path / "copy")
    configuration.write()
    dovecot.start_daemon()
    stream = receiver.on(other)[0].event["stream"]
    count = len(receiver.on(other))
    configuration.endpoints["second"] = kept
    configuration.apply()
    receiver.wait(lambda: len(receiver.answered(other)) >= count + 5)
    after = receiver.on(other)[count:]
    assert stream not in {r.event["stream"] for r in after}
    assert [is_gap(r) for r in after].count(True) == 1
    assert {uid(r) for r in after if not is_gap(r)} == {2}


def drop_cursors(dovecot):
    """As a crash leaves it between the new ledger and its first cursors."""
    with sqlite3.connect(dovecot.state / "ledger.db") as ledger:
        tables = {name: [row[1] for row in ledger.execute(
            f"PRAGMA table_info({name})")] for (name,) in ledger.execute(
                "SELECT name FROM sqlite_master WHERE type = 'table'")
            .fetchall()}
        [cursors] = [name for name, columns in tables.items()
                     if "stream" in columns]
        ledger.execute(f"DELETE FROM {cursors}")
        [values] = [name for name, columns in tables.items()
                    if columns == ["name", "value"]]
        assert ledger.execute(f"UPDATE {values} SET value = '1' "
                              "WHERE name = 'rebuilt'").rowcount == 1
    ledger.close()


@pytest.mark.parametrize("crash", [False, True], ids=["once", "crash"])
def test_a_lost_ledger_starts_every_endpoint_at_the_oldest_record(
        private, receiver, crash):
    dovecot, configuration, path = private(endpoint=QUICK)
    other = add_second(configuration)
    configuration.apply()
    deliver(dovecot, 3)
    all_came(receiver, path, 3)
    all_came(receiver, other, 3)
    before = {one: receiver.on(one) for one in (path, other)}
    dovecot.stop_daemon()
    for one in dovecot.state.glob("ledger.db*"):
        one.unlink()
    if crash:
        configuration_text = configuration.text()
        dovecot.configure('server_name = "mail.example.org"\n')
        dovecot.start_daemon()
        dovecot.stop_daemon(signal.SIGKILL)
        drop_cursors(dovecot)
        dovecot.configure(configuration_text)
    dovecot.start_daemon()
    assert "was lost" in dovecot.log()
    for one in (path, other):
        receiver.wait(lambda: len(receiver.answered(one)) >=
                      len(before[one]) + 13)
        after = receiver.on(one)[len(before[one]):]
        gap = after[0]
        assert is_gap(gap) and gap.sequence == 1
        assert "lost" in gap.data["vnd.mailhook.reason"]
        assert [r.id for r in sorted(after[1:], key=lambda r: r.sequence)] \
            == [r.id for r in sorted(before[one], key=lambda r: r.sequence)]
        assert [r.sequence for r in sorted(
            after, key=lambda r: r.sequence)] == list(range(1, 14))
        [stream] = {r.event["stream"] for r in after}
        assert stream != before[one][0].event["stream"]
        floors_are_true(after)


def test_hup_is_a_reload(private, receiver):
    dovecot, configuration, path = private(endpoint=QUICK)
    deliver(dovecot, 1)
    all_came(receiver, path, 1)
    pid = dovecot.daemon_process.pid
    other = add_second(configuration)
    configuration.write()
    os.kill(pid, signal.SIGHUP)
    wait_for(lambda: "reloaded" in dovecot.log(), "the reload")
    deliver(dovecot, 1)
    all_came(receiver, path, 2)
    receiver.wait(lambda: len(receiver.answered(other)) >= len(USERS))
    assert {uid(r) for r in receiver.on(other)} == {2}
    # A broken file changes nothing and is said.
    dovecot.configure("endpoint x {\n")
    os.kill(pid, signal.SIGHUP)
    wait_for(lambda: "mailhook.conf:2: " in dovecot.log(), "the complaint")
    deliver(dovecot, 1)
    all_came(receiver, path, 3)
    assert dovecot.daemon_process.poll() is None


def fact(size):
    return RS + json.dumps({
        "id": "01990000-0000-7000-8000-000000000000",
        "type": "vnd.mailhook.fact.test", "time": "2026-01-01T00:00:00.000Z",
        "user": "filler", "owner": "filler",
        "data": {"padding": "x" * size}}).encode() + b"\n"


def fill_file(dovecot):
    """Appends 34 MiB to the current journal file."""
    piece = fact(1000000)
    with open(dovecot.state / "journal", "ab", 0) as journal:
        for _ in range(34):
            assert journal.write(piece) == len(piece)


def journal_files(dovecot):
    return sorted(one.name for one in dovecot.state.glob("journal*"))


def fill_and_rotate(dovecot):
    before = os.stat(dovecot.state / "journal").st_ino
    fill_file(dovecot)
    wait_for(lambda: os.stat(dovecot.state / "journal").st_ino != before,
             "the rotation")


def test_journal_limit_releases_under_a_dead_endpoint(private, receiver):
    """The oldest file goes; the endpoint that had not read it jumps, with a
    Gap of its own, and the other one notices nothing."""
    dovecot, configuration, path = private(endpoint=QUICK)
    configuration.settings["journal_limit"] = '"128M"'
    other = add_second(configuration)
    configuration.apply()
    # More than the dead endpoint reads ahead: some of it stays unread.
    receiver.script(path, default=Answer(503))
    deliver(dovecot, 30)
    all_came(receiver, other, 30)
    for done in range(1, 4):
        fill_and_rotate(dovecot)
        deliver(dovecot, 1)
        all_came(receiver, other, 30 + done)
    wait_for(lambda: "journal.1" not in journal_files(dovecot),
             "the release of the oldest file")
    assert "journal_limit is reached" in dovecot.log()
    total = sum(one.stat().st_size for one in dovecot.state.glob("journal*"))
    assert total < 128 * 1024 * 1024
    deliver(dovecot, 1)
    all_came(receiver, other, 34)
    requests = receiver.on(other)
    assert {r.sequence for r in requests} == set(range(1, len(requests) + 1))
    assert not [r for r in requests if is_gap(r)]
    in_order(requests)

    # The dead one comes back: what it had read of the file is there, the
    # rest of it is a Gap, then comes all that followed.
    receiver.script(path)
    receiver.wait(lambda: {(encode_user(user), 34) for user in USERS} <= {
        (r.owner, uid(r)) for r in receiver.answered(path)
        if not is_gap(r)})
    requests = receiver.on(path)
    [gap] = {r.id: r for r in requests if is_gap(r)}.values()
    assert "journal_limit" in gap.data["vnd.mailhook.reason"]
    came = {(r.owner, uid(r)) for r in receiver.answered(path)
            if not is_gap(r)}
    assert {(encode_user(user), n) for user in USERS
            for n in range(31, 35)} <= came
    early = sorted(n for _, n in came if n <= 30)
    assert 64 <= len(early) < 30 * len(USERS)
    assert set(early) == set(range(1, max(early) + 1))
    same_forever(requests)
    floors_are_true(requests)
    assert len({r.event["stream"] for r in requests}) == 1
    assert {r.sequence for r in requests} == \
        set(range(1, max(r.sequence for r in requests) + 1))


def test_a_stopped_daemon_never_fills_the_disk(private, receiver):
    """Mail processes know how much they may append. Beyond it mail goes on,
    what is not written is counted, and the next daemon says so."""
    dovecot, configuration, path = private()
    configuration.settings["journal_limit"] = '"128M"'
    configuration.apply()
    deliver(dovecot, 1)
    all_came(receiver, path, 1)
    dovecot.stop_daemon()
    # 128 MiB less nothing older: the current file may take them all.
    with open(dovecot.state / "journal", "ab", 0) as journal:
        piece = fact(1000000)
        while os.fstat(journal.fileno()).st_size < 127 * 1024 * 1024:
            journal.write(piece)
        journal.write(fact(128 * 1024 * 1024 - 300 -
                           os.fstat(journal.fileno()).st_size))
    size = os.stat(dovecot.state / "journal").st_size
    deliver(dovecot, 3)
    with dovecot.imap(USERS[0]) as imap:
        assert imap.status("INBOX")["messages"] == 4
    assert os.stat(dovecot.state / "journal").st_size == size
    dovecot.start_daemon()

    def gaps():
        return {r.id: r.data["vnd.mailhook.lost"]
                for r in receiver.answered(path) if is_gap(r) and
                r.data["vnd.mailhook.reason"] == "lost in a mail process"}

    # One for each mail process that counted; the full file may go before it
    # was read to its end, which is another Gap.
    receiver.wait(lambda: sum(gaps().values()) == 3 * len(USERS),
                  what="the Gaps")
    deliver(dovecot, 1)
    receiver.wait(lambda: {(encode_user(user), 5) for user in USERS} <= {
        (r.owner, uid(r)) for r in receiver.answered(path)
        if not is_gap(r)})
    assert sum(gaps().values()) == 3 * len(USERS)
    floors_are_true(receiver.on(path))


def test_an_unwritable_directory_at_start_is_said(private, receiver):
    dovecot, _, path = private(start=False)
    dovecot.daemon = None
    os.chown(dovecot.state, 0, 0)
    os.chmod(dovecot.state, 0o755)
    dovecot.start()
    refused = run_daemon(dovecot)
    assert refused.returncode == 1
    assert str(dovecot.state) in refused.stdout
    assert "Permission denied" in refused.stdout
    # A sanitizer's run-time may have something to say, too.
    assert len([line for line in refused.stdout.strip().splitlines()
                if line.startswith("mailhookd: ") and
                "MAILHOOK_SANDBOX" not in line]) == 1
    deliver(dovecot, 1)
    with dovecot.imap(USERS[0]) as imap:
        assert imap.status("INBOX")["messages"] == 1
    assert list(dovecot.state.iterdir()) == []


def test_a_directory_that_becomes_unwritable(private, receiver):
    """No rotation then: it is said, events go on in the current file, and
    when the rights are back so is the rotation."""
    dovecot, configuration, path = private()
    deliver(dovecot, 1)
    all_came(receiver, path, 1)
    owner = dovecot.state.stat()
    os.chown(dovecot.state, 0, owner.st_gid)
    os.chmod(dovecot.state, 0o2755)
    fill_file(dovecot)
    wait_for(lambda: "Permission denied" in dovecot.log(), "the complaint")
    deliver(dovecot, 2)
    all_came(receiver, path, 3)
    assert journal_files(dovecot) == ["journal"]
    os.chown(dovecot.state, owner.st_uid, owner.st_gid)
    os.chmod(dovecot.state, 0o2711)
    deliver(dovecot, 1)
    wait_for(lambda: "journal.1" in journal_files(dovecot), "the rotation")
    deliver(dovecot, 1)
    all_came(receiver, path, 5)
    requests = receiver.on(path)
    assert {r.sequence for r in requests} == set(range(1, 21))
    assert not [r for r in requests if is_gap(r)]


@pytest.mark.parametrize("broken", [None, "retension = 1\n"],
                         ids=["absent", "broken"])
def test_no_configuration_at_start_and_then_one(private, receiver, broken):
    """Under Dovecot: the log names the file and the mistake, mail goes on,
    and once the file is right the daemon serves."""
    dovecot, configuration, path = private(daemon="service", start=False)
    if broken is None:
        dovecot.mailhook_conf.unlink()
    else:
        dovecot.configure(broken)
    dovecot.daemon = None
    dovecot.start()
    want = str(dovecot.mailhook_conf) + \
        (":1: retension" if broken else ": No such file")
    wait_for(lambda: want in dovecot.log(), "the complaint")
    deliver(dovecot, 1)
    with dovecot.imap(USERS[0]) as imap:
        assert imap.status("INBOX")["messages"] == 1
    configuration.write()
    dovecot.doveadm("reload")
    dovecot.wait_daemon()
    wait_for(lambda: _try_deliver(dovecot), "LMTP after the reload")
    # One whose answer the reload cut off may have arrived all the same.
    with dovecot.imap(USERS[0]) as imap:
        messages = imap.status("INBOX")["messages"]
    receiver.wait(lambda: {uid(r) for r in receiver.answered(path)} ==
                  set(range(2, messages + 1)))


def _try_deliver(dovecot):
    try:
        deliver(dovecot, 1, USERS[:1])
        return True
    except OSError:
        return False


def test_two_reloads_close_together_both_count(private, receiver):
    """Also while the first one's requests are not answered yet: the last one
    is in force when it is answered."""
    import threading
    dovecot, configuration, path = private(
        endpoint={**QUICK, "timeout": '"1m"'})
    receiver.script(path, Answer(hang=True))
    deliver(dovecot, 1, USERS[:1])
    receiver.wait(lambda: receiver.on(path))
    configuration.endpoints["only"]["events"] = '{"message"}'
    configuration.apply()  # it settles once the request is answered
    third = add_second(configuration)
    configuration.write()
    answers = []
    asking = [threading.Thread(
        target=lambda: answers.append(dovecot.ask("reload")))
        for _ in range(2)]
    for one in asking:
        one.start()
    for one in asking:
        one.join()
    assert answers == [{"ok": True}] * 2
    assert {one["name"] for one in dovecot.ask("status")["endpoints"]} == \
        {"only", "second"}
    assert not receiver.answered(path)
    deliver(dovecot, 1, USERS[:1])
    receiver.wait(lambda: receiver.answered(third))
    assert {uid(r) for r in receiver.on(third)} == {2}
    receiver.release()
    receiver.wait(lambda: len(receiver.answered(path)) == 2)
    assert [uid(r) for r in receiver.on(path)] == [1, 2]


def test_a_reload_that_waits_when_the_daemon_stops_is_told(
        private, receiver):
    """One waits only where as many before it as there is room for are not
    settled, because a receiver hangs."""
    dovecot, configuration, path = private(
        endpoint={**QUICK, "timeout": '"10m"'})
    receiver.script(path, Answer(hang=True))
    deliver(dovecot, 1, USERS[:1])
    receiver.wait(lambda: receiver.on(path))
    configuration.endpoints["only"]["events"] = '{"message"}'
    for _ in range(16):
        configuration.apply()
    with socket.socket(socket.AF_UNIX) as one:
        one.settimeout(60)
        one.connect(str(dovecot.control))
        one.sendall(b'{"command":"reload"}\n')
        for _ in range(3):
            assert dovecot.ask("status")["ok"]
        assert select.select([one], [], [], 0)[0] == []
        dovecot.daemon_process.send_signal(signal.SIGTERM)
        with one.makefile("rb") as stream:
            answer = json.loads(stream.readline())
    assert not answer["ok"] and "is stopping" in answer["error"]
    dovecot.daemon_process.wait(30)


@pytest.fixture
def small_disk():
    """small_disk(dovecot): its state directory on a disk of 48 MiB."""
    mounted = []

    def mount(dovecot):
        owner = dovecot.state.stat()
        subprocess.run(
            ["mount", "-t", "tmpfs", "-o", f"size=48M,mode=2711,"
             f"uid={owner.st_uid},gid={owner.st_gid}", "tmpfs",
             dovecot.state], check=True)
        mounted.append(dovecot)

    yield mount
    for one in mounted:
        one.stop()
        subprocess.run(["umount", "-l", one.state], check=True)


def fill_disk(dovecot):
    filler = dovecot.state / "filler"
    with open(filler, "wb", 0) as file:
        try:
            while True:
                file.write(b"\0" * 65536)
        except OSError:
            pass
        try:
            while True:
                file.write(b"\0" * 512)
        except OSError:
            pass
    return filler


def test_a_full_disk_loses_and_renumbers_nothing(private, receiver,
                                                 small_disk):
    """The ledger cannot commit: mail and delivery go on, the daemon says so,
    and once there is room everything has come once more in good order, under
    the number and id it had."""
    dovecot, _, path = private(start=False, endpoint=QUICK)
    small_disk(dovecot)
    dovecot.start_daemon()
    dovecot.start()
    deliver(dovecot, 3)
    all_came(receiver, path, 3)
    # The journal has room that was set aside for it; the ledger has none.
    filler = fill_disk(dovecot)
    broken = [True]
    receiver.script(path, choose=lambda r: Answer(500) if broken[0] and
                    r.owner == encode_user(USERS[0]) else None)
    count = 3
    for _ in range(60):
        deliver(dovecot, 1)
        count += 1
        if "full" in dovecot.log():
            break
        time.sleep(0.1)
    assert "full" in dovecot.log()
    assert dovecot.daemon_process.poll() is None
    with dovecot.imap(USERS[0]) as imap:
        assert imap.status("INBOX")["messages"] == count
    filler.unlink()
    broken[0] = False
    deliver(dovecot, 2)
    count += 2
    all_came(receiver, path, count)
    requests = receiver.on(path)
    assert not [r for r in requests if is_gap(r)]
    events = same_forever(requests)
    assert len(events) == count * len(USERS)
    assert {r.sequence for r in requests} == set(range(1, len(events) + 1))
    assert set(in_order(receiver.answered(path)).values()) == {count}
    floors_are_true(requests)
    # All of it is durable again: a successor sends nothing twice.
    wait_for(lambda: dovecot.ask("status")["ledger_queued"] == 0,
             "the ledger's commits")
    dovecot.stop_daemon()
    seen = len(receiver.on(path))
    dovecot.start_daemon()
    deliver(dovecot, 1)
    all_came(receiver, path, count + 1)
    assert len(receiver.on(path)) == seen + len(USERS)
    same_forever(receiver.on(path))


def test_killed_on_a_full_disk(private, receiver, small_disk):
    """What could not be committed is sent again, with the numbers it had."""
    dovecot, _, path = private(start=False, endpoint=QUICK)
    small_disk(dovecot)
    dovecot.start_daemon()
    dovecot.start()
    deliver(dovecot, 3)
    all_came(receiver, path, 3)
    filler = fill_disk(dovecot)
    deliver(dovecot, 10)
    all_came(receiver, path, 13)
    dovecot.stop_daemon(signal.SIGKILL)
    filler.unlink()
    dovecot.start_daemon()
    deliver(dovecot, 1)
    all_came(receiver, path, 14)
    requests = receiver.on(path)
    assert not [r for r in requests if is_gap(r)]
    events = same_forever(requests)
    assert {r.sequence for r in requests} == set(range(1, len(events) + 1))
    floors_are_true(requests)
