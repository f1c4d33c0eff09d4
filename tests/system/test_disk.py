"""Disks that are full for the journal or the log, limits on a mail process's
files, and other hands on files that mail processes have open."""

import os
import subprocess

import pytest

from harness import build
from harness.clients import message
from harness.dovecot import sanitizer_environment
from harness.expect import encode_user
from test_daemon import USERS, all_came, deliver, same_forever
from test_delivery import uid
from test_recovery import (QUICK, fact, fill_disk, floors_are_true, is_gap,
                           wait_for)

MAIL = message()


@pytest.fixture
def disk():
    """disk(dovecot, size): its state directory on a file system of its own."""
    mounted = []

    def mount(dovecot, size):
        owner = dovecot.state.stat()
        done = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", f"size={size},mode=2711,"
             f"uid={owner.st_uid},gid={owner.st_gid}", "tmpfs",
             dovecot.state], stderr=subprocess.PIPE, text=True)
        if done.returncode != 0:
            pytest.skip(f"NOT RUN: {done.stderr.strip()}")
        mounted.append(dovecot)

    yield mount
    for one in mounted:
        one.stop()
        subprocess.run(["umount", "-l", one.state], check=True)


def gaps(receiver, path):
    return list({r.id: r for r in receiver.answered(path)
                 if is_gap(r)}.values())


def told_lost(receiver, path):
    """A record that a full disk tore is told by who finds it, too, without a
    number: who tore it has counted it, or written it once more."""
    return sum(gap.data.get("vnd.mailhook.lost", 0)
               for gap in gaps(receiver, path))


def came(receiver, path, kind="MessageNew"):
    return {(r.owner, uid(r)) for r in receiver.answered(path)
            if r.type == kind}


def inbox(dovecot, user):
    with dovecot.imap(user) as imap:
        return imap.status("INBOX")["messages"]


def test_a_full_journal_loses_with_the_right_count(private, receiver, disk):
    """No room for what the journal sets aside, nor for a single record: mail
    goes on, presence counts, and once there is room a Gap tells how many."""
    dovecot, _, path = private(start=False, endpoint=QUICK)
    disk(dovecot, "12M")
    dovecot.start_daemon()
    dovecot.start()
    deliver(dovecot, 3)
    all_came(receiver, path, 3)
    filler = fill_disk(dovecot)
    sent = 3
    while "No space left" not in dovecot.log() and sent < 60:
        deliver(dovecot, 5)
        sent += 5
    deliver(dovecot, 2)
    sent += 2
    assert "No space left" in dovecot.log()
    assert [inbox(dovecot, user) for user in USERS] == [sent] * len(USERS)
    filler.unlink()
    dovecot.stop_daemon()
    dovecot.start_daemon()
    deliver(dovecot, 1)
    sent += 1
    receiver.wait(lambda: {(encode_user(user), sent) for user in USERS} <=
                  came(receiver, path), what="what came with room again")
    receiver.wait(lambda: len(came(receiver, path)) +
                  told_lost(receiver, path) >= sent * len(USERS),
                  what="a Gap for the rest")
    assert len(came(receiver, path)) + told_lost(receiver, path) == \
        sent * len(USERS)
    assert told_lost(receiver, path) > 0
    requests = receiver.on(path)
    same_forever(requests)
    floors_are_true(requests)


def test_a_full_log_stops_nothing(private, receiver):
    dovecot, _, path = private(start=False, endpoint=QUICK)
    with open("/dev/full", "wb", 0) as full:
        dovecot.daemon_process = subprocess.Popen(
            [build.DAEMON, "--user", "dovecot", "--config",
             dovecot.mailhook_conf, "--dir", dovecot.state, "--control",
             dovecot.control], stdin=subprocess.DEVNULL, stdout=full,
            stderr=full, env={**os.environ,
                              **sanitizer_environment(dovecot.top)})
    dovecot.wait_daemon()
    dovecot.start()
    deliver(dovecot, 5)
    all_came(receiver, path, 5)
    assert dovecot.daemon_process.poll() is None
    dovecot.stop_daemon()
    assert not [r for r in receiver.on(path) if is_gap(r)]


def test_lda_under_a_file_size_limit(private, receiver):
    """Postfix gives its pipes one. SIGXFSZ would kill the delivery after the
    mail was saved, and it would be delivered again."""
    dovecot, _, path = private()
    deliver(dovecot, 12)
    all_came(receiver, path, 12)
    # Room for what Dovecot 2.4 writes of its own, its configuration too.
    limit = 4 << 20
    with open(dovecot.state / "journal", "ab", 0) as journal:
        for _ in range(5):
            journal.write(fact(1000000))
    assert (dovecot.state / "journal").stat().st_size > limit
    done = dovecot._run(
        ["prlimit", f"--fsize={limit}", "/usr/lib/dovecot/dovecot-lda", "-c",
         dovecot.conf, "-d", USERS[0], "-f", "sender@example.net"], False,
        60, MAIL.decode(), dovecot.environment)
    assert done.returncode == 0, done.stderr + dovecot.log()
    assert inbox(dovecot, USERS[0]) == 13
    dovecot.stop_daemon()
    dovecot.start_daemon()
    receiver.wait(lambda: told_lost(receiver, path) == 1,
                  what="the Gap for it")
    assert (encode_user(USERS[0]), 13) not in came(receiver, path)
    deliver(dovecot, 1)
    receiver.wait(lambda: (encode_user(USERS[0]), 14) in
                  came(receiver, path), what="the next one")
    assert told_lost(receiver, path) == 1


@pytest.mark.parametrize("size", [0, 100, 5000])
def test_a_holder_truncates_presence(private, receiver, size):
    """Mail processes are trusted with it as they are with mail: whatever one
    does to it crashes neither others nor the daemon, and events go on."""
    dovecot, _, path = private(endpoint=QUICK)
    deliver(dovecot, 2)
    all_came(receiver, path, 2)
    with dovecot.imap(USERS[0]) as imap:
        imap.append("INBOX", MAIL)
        os.truncate(dovecot.state / "presence", size)
        imap.append("INBOX", MAIL)
        deliver(dovecot, 2, USERS[1:])
        assert imap.status("INBOX")["messages"] == 4
    all_came(receiver, path, 4, USERS[1:])
    assert dovecot.daemon_process.poll() is None
    dovecot.stop_daemon()
    dovecot.start_daemon()
    deliver(dovecot, 1)
    all_came(receiver, path, 5, USERS[1:])
    wait_for(lambda: len(came(receiver, path, "MessageAppend")) == 2,
             "both appends")
    assert (dovecot.state / "presence").stat().st_size > 1 << 20
    assert not [line for line in dovecot.log().splitlines()
                if "Panic" in line or "killed with signal" in line]


def test_a_holder_truncates_the_journal(private, receiver):
    """What was delivered from it stays delivered; what is appended after it
    comes; and there is a Gap."""
    dovecot, _, path = private(endpoint=QUICK)
    deliver(dovecot, 3)
    all_came(receiver, path, 3)
    with dovecot.imap(USERS[0]) as imap:
        imap.append("INBOX", MAIL)
        os.truncate(dovecot.state / "journal", 700)
        imap.append("INBOX", MAIL)
        deliver(dovecot, 1, USERS[1:])
        assert imap.status("INBOX")["messages"] == 5
    all_came(receiver, path, 4, USERS[1:])
    receiver.wait(lambda: (encode_user(USERS[0]), 5) in
                  came(receiver, path, "MessageAppend"), what="the append")
    receiver.wait(lambda: gaps(receiver, path), what="a Gap")
    same_forever(receiver.on(path))
    floors_are_true(receiver.on(path))
    assert dovecot.daemon_process.poll() is None
