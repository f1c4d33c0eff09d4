"""Power cuts, with real processes. What a disk can have after one, at every
point of a story, is tests/unit/test-power's; here is what the mail processes
and the daemon must do for it."""

import os
import signal
import sqlite3

import pytest

from harness.dialect import SERIES, block, lines
from harness.expect import encode_user
from test_daemon import RS, USERS, all_came, deliver
from test_delivery import uid
from test_recovery import QUICK, floors_are_true, is_gap, sequences
# Fixtures:
from test_torture import library, shared_faults  # noqa: F401
from test_torture import use

BOOT_GAP = "the machine stopped without shutting down"


def durability(value):
    setting = {"mailhook_durability": value}
    return block("plugin", setting) if SERIES == "2.3" else lines(setting)


@pytest.mark.parametrize("value", ["process", "power"])
def test_who_syncs(private, receiver, library, shared_faults,  # noqa: F811
                   value):
    """With `power` a mail process syncs the journal before it answers, once
    for each change that Dovecot syncs too; without it never."""
    dovecot, _, path = private(
        environment={"LD_PRELOAD": library,
                     "MAILHOOK_FAULTS": shared_faults.path},
        extra=durability(value))
    shared_faults.arm("sync", 0xffffffff)
    use(dovecot, USERS[0])
    syncs, _ = shared_faults.disarm()
    assert syncs == (3 if value == "power" else 0)


def another_boot(dovecot):
    """As if the ledger had been written before the machine stopped."""
    owner = (dovecot.state / "ledger.db").stat()
    with sqlite3.connect(dovecot.state / "ledger.db") as ledger:
        done = ledger.execute("UPDATE value SET value = ? WHERE name = ?",
                              ("0" * 8 + "-0000-4000-8000-" + "0" * 12,
                               "boot-id"))
        assert done.rowcount == 1
    ledger.close()
    for one in dovecot.state.glob("ledger.db*"):
        os.chown(one, owner.st_uid, owner.st_gid)


def cut_journal(dovecot, records):
    """Its last records never reached the disk."""
    path = dovecot.state / "journal"
    text = path.read_bytes()
    for _ in range(records):
        text = text[:text.rindex(RS)]
    os.truncate(path, len(text))


@pytest.mark.parametrize("lost", [0, 4])
def test_unclean_boot(private, receiver, lost):
    """Mail comes before the daemon, into the place of what is gone. Nothing of
    it is taken for what had been there, and the Gap says since when something
    may be missing."""
    dovecot, _, path = private(endpoint=QUICK)
    deliver(dovecot, 3)
    all_came(receiver, path, 3)
    dovecot.stop_daemon(signal.SIGKILL)
    another_boot(dovecot)
    cut_journal(dovecot, lost)
    before = receiver.on(path)
    deliver(dovecot, 1)
    dovecot.start_daemon()
    all_came(receiver, path, 4)
    receiver.wait(lambda: [r for r in receiver.answered(path) if is_gap(r) and
                           r.data["vnd.mailhook.reason"] == BOOT_GAP],
                  what="the Gap for all")
    requests = receiver.on(path)
    after = requests[len(before):]
    floors_are_true(requests)
    # What is sent again has a number of its own; none is used for two.
    ids = {}
    for request in requests:
        assert ids.setdefault(request.sequence, request.id) == request.id
    [own] = {r.id: r for r in after if is_gap(r) and sequences(r)}.values()
    used = {r.sequence for r in before}
    assert min(r.sequence for r in after if r.id not in
               {b.id for b in before}) > max(used)
    [gap] = {r.id: r for r in after if is_gap(r) and r is not own and
             r.data["vnd.mailhook.reason"] == BOOT_GAP}.values()
    assert gap.data["vnd.mailhook.since"]
    assert {(r.owner, uid(r)) for r in after if not is_gap(r)} >= \
        {(encode_user(user), 4) for user in USERS}
    # Once: the next start finds the boot it knows.
    told = {r.id for r in requests if is_gap(r)}
    dovecot.stop_daemon()
    dovecot.start_daemon()
    deliver(dovecot, 1)
    all_came(receiver, path, 5)
    assert {r.id for r in receiver.on(path) if is_gap(r)} == told
