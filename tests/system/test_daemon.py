"""The daemon's life beside the mail server: stopped, killed, doubled,
misconfigured, its files damaged. Each test has a server of its own."""

import imaplib
import json
import os
import random
import signal
import smtplib
import subprocess
import threading
import time

import pytest

from harness import build
from harness.clients import PASSWORD, message
from harness.dialect import Namespace
from harness.expect import Mail, encode_user
from harness.receiver import Answer
from test_delivery import in_order, uid

MAIL = message()
USERS = [f"load{n}@example.org" for n in range(4)]
RS = b"\x1e"


def records(dovecot, name="journal"):
    """The journal as any RFC 7464 reader sees it, header left out."""
    text = (dovecot.state / name).read_bytes()
    parsed = [json.loads(one) for one in text.split(RS) if one.strip()]
    assert parsed[0]["type"] == "vnd.mailhook.journal"
    return parsed[1:]


def deliver(dovecot, count, users=USERS):
    with dovecot.lmtp() as lmtp:
        for _ in range(count):
            for user in users:
                lmtp.deliver(MAIL, user)


def deliver_through_reload(dovecot, count):
    """As a mail server upstream does it: a deferred delivery is tried
    again."""
    for user in USERS * count:
        for _ in range(100):
            try:
                deliver(dovecot, 1, [user])
                break
            except (smtplib.SMTPException, OSError):
                time.sleep(0.1)
        else:
            raise AssertionError("LMTP did not come back")


def all_came(receiver, path, each, users=USERS):
    """Every uid of every user was answered."""
    want = {(encode_user(user), n) for user in users
            for n in range(1, each + 1)}
    receiver.wait(lambda: want <= {
        (r.owner, uid(r)) for r in receiver.answered(path)
        if r.type == "MessageNew"}, what=f"{len(want)} deliveries")


def same_forever(requests):
    """An event's id, number and bytes never change, and no two share one."""
    by_id, by_number = {}, {}
    for request in requests:
        number = (request.event["stream"], request.sequence)
        seen = by_id.setdefault(request.id, (number, request.body))
        assert seen == (number, request.body), request.id
        if request.sequence:
            assert by_number.setdefault(number, request.id) == request.id
    return by_id


def test_silent_while_the_daemon_never_ran(private):
    dovecot, _, _ = private(daemon=None)
    deliver(dovecot, 2)
    with dovecot.imap(USERS[0]) as imap:
        imap.ok("SELECT INBOX")
        imap.ok("STORE 1 +FLAGS (\\Seen \\Deleted)")
        imap.ok("EXPUNGE")
        imap.ok("CREATE Box")
    assert list(dovecot.state.iterdir()) == []
    assert not [line for line in dovecot.log().splitlines()
                if "mailhook" in line.replace(str(dovecot.top), "")]


def test_nothing_unwanted_is_written(private):
    dovecot, _, path = private(endpoint={"events": '{"MailboxCreate"}'})
    deliver(dovecot, 1)
    with dovecot.imap(USERS[0]) as imap:
        imap.ok("SELECT INBOX")
        imap.ok("STORE 1 +FLAGS (\\Seen)")
        imap.ok("CREATE Box")
    assert [r["type"] for r in records(dovecot)] == ["MailboxCreate"]


def test_a_transaction_is_one_record_each_in_the_journal(private, receiver):
    """What is on the wire is what the mail process wrote."""
    dovecot, _, path = private()
    deliver(dovecot, 1)
    all_came(receiver, path, 1)
    by_id = {r.id: r for r in receiver.answered(path)}
    written = records(dovecot)
    assert {r["id"] for r in written} == set(by_id)
    for record in written:
        assert list(record)[:6] == \
            ["id", "type", "time", "user", "owner", "mailbox"]
        assert record["data"] == by_id[record["id"]].data


def test_rights_of_the_files(private):
    dovecot, _, _ = private()
    deliver(dovecot, 1)
    modes = {path.name: oct(path.stat().st_mode & 0o7777)
             for path in dovecot.state.iterdir()}
    assert modes.pop("interest") == "0o640"
    assert modes.pop("journal") == "0o620"
    assert modes.pop("presence") == "0o660"
    modes.pop("ledger.lock", None)
    assert modes and set(modes.values()) == {"0o600"}, modes


def test_mail_goes_on_while_the_daemon_is_away(private, receiver):
    dovecot, _, path = private()
    deliver(dovecot, 2)
    all_came(receiver, path, 2)
    dovecot.stop_daemon()
    deliver(dovecot, 10)
    assert len(receiver.on(path)) == 8
    dovecot.start_daemon()
    deliver(dovecot, 1)
    all_came(receiver, path, 13)
    requests = receiver.on(path)
    assert set(in_order(requests).values()) == {13}
    same_forever(requests)
    assert not [r for r in requests if "Gap" in r.type]
    assert sorted({r.sequence for r in requests}) == list(range(1, 53))


@pytest.mark.parametrize("answers", ["good", "bad"])
def test_killed_under_load_loses_nothing(private, receiver, answers):
    dovecot, _, path = private(endpoint={
        "retry_first": '"50ms"', "retry_max": '"200ms"'})
    chance = random.Random(len(answers))
    receiver.script(path, choose=lambda r: Answer(
        500 if answers == "bad" and chance.random() < 0.3 else 204,
        delay=0.002))
    each = 60
    load = threading.Thread(target=deliver, args=(dovecot, each))
    load.start()
    for _ in range(5):
        time.sleep(0.1 + chance.random() * 0.3)
        dovecot.stop_daemon(signal.SIGKILL)
        dovecot.start_daemon(wait=False)
    load.join()
    dovecot.wait_daemon()
    all_came(receiver, path, each)
    requests = receiver.on(path)
    assert set(in_order(receiver.answered(path)).values()) == {each}
    assert len(same_forever(requests)) == each * len(USERS)
    assert not [r for r in requests if "Gap" in r.type]
    assert {r.sequence for r in requests} == \
        set(range(1, each * len(USERS) + 1))


def test_stopped_in_the_middle_it_leaves_cleanly(private, receiver):
    """SIGTERM waits for what is out; the successor repeats nothing that was
    answered."""
    dovecot, _, path = private()
    receiver.script(path, default=Answer(delay=0.01))
    deliver(dovecot, 10)
    process = dovecot.daemon_process
    dovecot.stop_daemon()
    assert process.returncode == 0
    receiver.wait(lambda: len(receiver.answered(path)) ==
                  len(receiver.on(path)), what="the last answer")
    before = {r.sequence for r in receiver.answered(path)}
    reached = next(n for n in range(len(before) + 2)
                   if n + 1 not in before)
    dovecot.start_daemon()
    all_came(receiver, path, 10)
    came = receiver.answered(path)
    assert sorted(r.sequence for r in came if r.sequence <= reached) == \
        list(range(1, reached + 1))
    assert len(same_forever(came)) == len(came) == 10 * len(USERS)


def test_a_truncated_journal_skips_nothing_new(private, receiver):
    """A power cut can take the journal's end although a cursor stood beyond
    it. What comes after must not be taken for what was."""
    dovecot, _, path = private()
    deliver(dovecot, 50)
    all_came(receiver, path, 50)
    dovecot.stop_daemon()
    journal = dovecot.state / "journal"
    os.truncate(journal, journal.stat().st_size * 2 // 3)
    dovecot.start_daemon()
    deliver(dovecot, 5)
    all_came(receiver, path, 55)
    receiver.wait(lambda: [r for r in receiver.answered(path)
                           if r.type == "vnd.mailhook.Gap"], what="a Gap")
    ids = {}
    for request in receiver.on(path):
        if request.type == "MessageNew":
            assert ids.setdefault(request.id, (request.owner, uid(request))) \
                == (request.owner, uid(request))


def test_foreign_bytes_are_a_gap(private, receiver):
    dovecot, _, path = private()
    deliver(dovecot, 1)
    all_came(receiver, path, 1)
    with open(dovecot.state / "journal", "ab") as journal:
        journal.write(b"\0" * 4096 + b"garbage\n" + RS + b'{"torn": ')
    deliver(dovecot, 2)
    all_came(receiver, path, 3)
    receiver.wait(lambda: [r for r in receiver.answered(path)
                           if r.type == "vnd.mailhook.Gap"], what="a Gap")
    assert dovecot.daemon_process.poll() is None


def test_a_lost_ledger_repeats_all_with_a_gap(private, receiver):
    dovecot, _, path = private()
    deliver(dovecot, 3)
    all_came(receiver, path, 3)
    before = {r.id for r in receiver.answered(path)}
    stream = receiver.on(path)[0].event["stream"]
    dovecot.stop_daemon()
    for one in dovecot.state.glob("ledger.db*"):
        one.unlink()
    count = len(receiver.on(path))
    dovecot.start_daemon()
    receiver.wait(lambda: before <= {
        r.id for r in receiver.answered(path)[count:]})
    receiver.wait(lambda: [r for r in receiver.answered(path)[count:]
                           if r.type == "vnd.mailhook.Gap"], what="a Gap")
    assert receiver.on(path)[-1].event["stream"] != stream


def test_a_corrupt_ledger_stops_nothing(private, receiver):
    dovecot, _, path = private()
    deliver(dovecot, 3)
    all_came(receiver, path, 3)
    dovecot.stop_daemon()
    for one in dovecot.state.glob("ledger.db-*"):
        one.unlink()
    (dovecot.state / "ledger.db").write_bytes(b"no database" * 1000)
    dovecot.start_daemon()
    deliver(dovecot, 1)
    all_came(receiver, path, 4)
    assert list(dovecot.state.glob("ledger.db.corrupt-*"))


def rotate(dovecot, deliver_one):
    """Fills the current journal file until the daemon makes the next one,
    calling deliver_one() now and then: an append wakes the daemon."""
    fact = json.dumps({
        "id": "01990000-0000-7000-8000-000000000000",
        "type": "vnd.mailhook.fact.test", "time": "2026-01-01T00:00:00.000Z",
        "user": "filler", "owner": "filler",
        "data": {"padding": "x" * 1000000}}).encode()
    for _ in range(34):
        if (dovecot.state / "journal.1").exists():
            break
        with open(dovecot.state / "journal", "ab", 0) as journal:
            journal.write(RS + fact + b"\n")
        deliver_one()
    end = time.monotonic() + 60
    while not (dovecot.state / "journal.1").exists():
        assert time.monotonic() < end, "no rotation"
        time.sleep(0.05)


def test_rotation(private, receiver):
    """A full journal file makes room for the next one; events on both sides
    of the change come once and in order."""
    dovecot, _, path = private()
    deliver(dovecot, 3)
    rotate(dovecot, lambda: deliver(dovecot, 1, USERS[:1]))
    deliver(dovecot, 6)
    for user in USERS[1:]:
        all_came(receiver, path, 9, [user])
    Mail(dovecot, receiver, path, USERS[0]).mark()
    requests = receiver.on(path)
    in_order(requests)
    ids = [r.id for r in requests]
    assert len(ids) == len(set(ids))
    assert {r.sequence for r in requests} == set(range(1, len(ids) + 1))
    assert not [r for r in requests if "mailhook" in r.type]


def run_daemon(dovecot, *more):
    return subprocess.run(
        [build.DAEMON, "--user", "dovecot", "--config",
         dovecot.mailhook_conf, "--dir", dovecot.state, "--control",
         dovecot.control.with_name("second"), *more],
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT, text=True, timeout=120)


def test_a_second_daemon_is_refused(private, receiver):
    dovecot, _, path = private()
    second = run_daemon(dovecot)
    assert second.returncode != 0
    assert second.stdout.strip()
    deliver(dovecot, 1)
    all_came(receiver, path, 1)
    # Each once; the order of several owners is nobody's promise.
    assert sorted(r.sequence for r in receiver.on(path)) == [1, 2, 3, 4]


def test_root_is_refused(private):
    dovecot, _, _ = private(start=False)
    refused = subprocess.run(
        [build.DAEMON, "--config", dovecot.mailhook_conf, "--dir",
         dovecot.state, "--control", dovecot.control],
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT, text=True, timeout=60)
    assert refused.returncode != 0
    assert "--user" in refused.stdout
    assert list(dovecot.state.iterdir()) == []


@pytest.mark.parametrize("broken, line", [
    ('server_name = "mail.example.org"\nretension = "1d"\n', 2),
    ('endpoint x {\n  url = "ftp://nowhere"\n  secret = {"whsec_QUJDREVGR0hJ'
     'SktMTU5PUFFSU1RVVldYWVoxMjM0NTY="}\n}\n', 2),
    ('endpoint x {\n  url = "http://127.0.0.1:1/"\n  secret = {"whsec_"}\n'
     '}\n', 3),
    ('endpoint x {\n', 2),
], ids=["key", "url", "secret", "brace"])
def test_a_broken_configuration_is_refused_with_its_line(
        private, receiver, broken, line):
    dovecot, configuration, path = private()
    good = configuration.text()
    dovecot.configure(broken)
    where = f"{dovecot.mailhook_conf}:{line}: "
    refused = dovecot.ctl("reload", check=False)
    assert refused.returncode != 0
    assert where in refused.stdout + refused.stderr
    # What was in force stays in force.
    deliver(dovecot, 1)
    all_came(receiver, path, 1)
    dovecot.stop_daemon()
    second = run_daemon(dovecot)
    assert second.returncode != 0
    assert where in second.stdout
    dovecot.configure(good)
    dovecot.start_daemon()
    deliver(dovecot, 1)
    all_came(receiver, path, 2)


def settled_pids(dovecot, count):
    """Waits until exactly `count` daemons are left."""
    end = time.monotonic() + 60
    while True:
        pids = dovecot.daemon_pids()
        if len(pids) == count:
            return pids
        assert time.monotonic() < end, \
            f"{len(pids)} daemons instead of {count}\n{dovecot.log()}"
        time.sleep(0.1)


def test_dovecot_runs_the_daemon(private, receiver):
    dovecot, _, path = private(daemon="service")
    [first] = settled_pids(dovecot, 1)
    deliver(dovecot, 2)
    all_came(receiver, path, 2)

    # Killed, it comes back.
    os.kill(first, signal.SIGKILL)
    deliver(dovecot, 2)
    all_came(receiver, path, 4)
    [second] = settled_pids(dovecot, 1)
    assert second != first

    # A reload of Dovecot replaces it.
    dovecot.doveadm("reload")
    deliver_through_reload(dovecot, 2)
    end = time.monotonic() + 60
    while settled_pids(dovecot, 1) == [second]:
        assert time.monotonic() < end, "the daemon outlived the reload"
        time.sleep(0.1)
    deliver_through_reload(dovecot, 1)
    all_came(receiver, path, 7)

    dovecot.doveadm("stop")
    dovecot.process.wait(60)
    settled_pids(dovecot, 0)
    requests = receiver.on(path)
    in_order(requests)
    # One more where a delivery's answer was lost and it was tried again.
    events = len(same_forever(requests))
    assert events >= 28
    assert {r.sequence for r in requests} == set(range(1, events + 1))
    assert {r.type for r in requests} == {"MessageNew"}


def test_descriptors_do_not_leak(private, receiver):
    """A thousand events later the daemon holds no more descriptors."""
    dovecot, _, path = private()
    deliver(dovecot, 5)
    all_came(receiver, path, 5)
    fds = f"/proc/{dovecot.daemon_process.pid}/fd"
    before = len(os.listdir(fds))
    deliver(dovecot, 245)
    all_came(receiver, path, 250)
    assert len(os.listdir(fds)) <= before + 8  # idle connections


def resident_kib(pid, field="VmRSS"):
    with open(f"/proc/{pid}/status", encoding="ascii") as status:
        [line] = [one for one in status if one.startswith(field + ":")]
    return int(line.split()[1])


def append_backlog(dovecot, owners):
    """One event for each of `owners` users, appended as producers do."""
    padding = "x" * 300
    for start in range(0, owners, 10000):
        chunk = bytearray()
        for n in range(start, min(start + 10000, owners)):
            user = f"owner{n}@example.org"
            chunk += RS + json.dumps({
                "id": f"01990000-0000-7000-8000-{n:012x}",
                "type": "MessageNew", "time": "2026-01-01T00:00:00.000Z",
                "user": user, "owner": user, "mailbox": "INBOX",
                "data": {"uri": "imap://mail.example.org/INBOX",
                         "vnd.test.padding": padding}}).encode() + b"\n"
        with open(dovecot.state / "journal", "ab", 0) as journal:
            assert journal.write(chunk) == len(chunk)


@pytest.mark.made_up_events
@pytest.mark.skipif("MAILHOOK_SANITIZE" in os.environ,
                    reason="AddressSanitizer's memory would be measured")
def test_a_backlog_costs_no_memory_and_survives(private, receiver):
    """Events that wait for a dead endpoint wait in the journal: the daemon
    grows by a small part of them, kill -9 changes nothing, and when the
    endpoint is back each owner's event comes, numbered without holes."""
    owners = 20000
    dovecot, _, path = private(endpoint={
        "retry_first": '"50ms"', "retry_max": '"200ms"', "concurrency": 50})
    receiver.script(path, default=Answer(503))
    deliver(dovecot, 1, USERS[:1])
    receiver.wait(lambda: receiver.on(path), what="a first attempt")
    before = resident_kib(dovecot.daemon_process.pid)
    append_backlog(dovecot, owners)
    size = sum(one.stat().st_size for one in dovecot.state.glob("journal*"))
    seen = len(receiver.on(path))
    receiver.wait(lambda: len(receiver.on(path)) > seen + 20,
                  what="attempts with the backlog there")
    grown = resident_kib(dovecot.daemon_process.pid, "VmHWM") - before
    assert grown * 1024 < size / 2, (grown, size)

    dovecot.stop_daemon(signal.SIGKILL)
    receiver.script(path, default=Answer(204))
    dovecot.start_daemon()
    receiver.wait(lambda: len({r.id for r in receiver.answered(path)}) ==
                  owners + 1, timeout=300, what="the whole backlog")
    requests = receiver.answered(path)
    assert {r.sequence for r in requests} == set(range(1, owners + 2))
    same_forever(receiver.on(path))
    assert not [r for r in requests if "mailhook" in r.type]


OTHERS = [
    Namespace("public", type="public", prefix="Public/",
              path="{mail}/public-mail", subscriptions=False),
    Namespace("shared", type="shared", prefix="shared/{owner}/",
              path="{mail}/{owner}/sdbox", subscriptions=False,
              list="children"),
]


def raw_imap(dovecot, login, password):
    imap = imaplib.IMAP4("127.0.0.1", dovecot.imap_port)
    imap.login(login, password)
    return imap


def append_and_take(dovecot, receiver, path, login, password, mailbox):
    seen = len(receiver.on(path))
    imap = raw_imap(dovecot, login, password)
    status, answer = imap.append(mailbox, None, None, MAIL)
    imap.logout()
    assert status == "OK", answer
    receiver.wait(lambda: len(receiver.on(path)) > seen)
    return receiver.on(path)[-1]


def test_a_master_user_is_the_admin(private, receiver):
    dovecot, _, path = private(master_users="master-pass")
    event = append_and_take(dovecot, receiver, path,
                            "someone@example.org*boss", "master-pass", "INBOX")
    assert event.type == "MessageAppend"
    assert event.data["user"] == "someone@example.org"
    assert event.data["admin"] == "boss"
    assert event.owner == "someone@example.org".replace("@", "%40")
    event = append_and_take(dovecot, receiver, path, "someone@example.org",
                            PASSWORD, "INBOX")
    assert "admin" not in event.data


def test_the_lane_is_the_mailbox_owners(private, receiver):
    """In a shared mailbox the user is the actor and the URL the owner's; a
    public mailbox belongs to its namespace and its URL has no user."""
    dovecot, _, path = private(namespaces=OTHERS)
    own = append_and_take(dovecot, receiver, path, "owner", PASSWORD, "INBOX")
    assert "vnd.mailhook.owner" not in own.data
    other = append_and_take(dovecot, receiver, path, "actor", PASSWORD,
                            "shared/owner/INBOX")
    assert other.data["user"] == "actor"
    assert other.data["vnd.mailhook.owner"] == "owner"
    assert other.data["mailboxID"] == own.data["mailboxID"]
    assert other.owner == own.owner == "owner"

    imap = raw_imap(dovecot, "actor", PASSWORD)
    assert imap.create("Public/News")[0] == "OK"
    imap.logout()
    public = append_and_take(dovecot, receiver, path, "actor", PASSWORD,
                             "Public/News")
    assert public.data["user"] == "actor"
    assert public.data["mailboxID"].startswith(
        "imap://mail.example.org/Public/News;UIDVALIDITY=")
    assert public.owner == "Public%2F"
