"""Who may do what: the setups that mail servers have, each delivering across
a rotation of the journal, and what `mailhookctl check` says where the rights
do not fit."""

import os
import subprocess

import pytest

from harness.clients import message
from harness.dialect import User
from harness.expect import encode_user
from test_daemon import rotate

ONE, TWO = "one@example.org", "two@example.org"
SYSTEM_USERS = [User(ONE, 5101), User(TWO, 5102)]

SETUPS = {
    "virtual": {},
    "system": {"users": SYSTEM_USERS},
    "rootless": {"rootless": True},
}


def problems(text):
    return [line.split(None, 1)[1] for line in text.splitlines()
            if line.startswith("problem")]


def check(dovecot, **options):
    return dovecot.ctl("--dovecot", dovecot.conf, "check", check=False,
                       **options)


@pytest.mark.parametrize("setup", SETUPS)
def test_it_starts_delivers_and_rotates(private, receiver, setup):
    dovecot, _, path = private(daemon="service", **SETUPS[setup])

    def deliver():
        with dovecot.lmtp() as lmtp:
            lmtp.deliver(message(), ONE)
            lmtp.deliver(message(), TWO)

    # A session from before the rotation appends after it: it has to open the
    # new file with the rights of a mail process.
    with dovecot.imap(ONE) as imap:
        deliver()
        imap.append("INBOX", message())
        rotate(dovecot, deliver)
        deliver()
        valid, last = imap.append("INBOX", message())
        imap.ok("CREATE Last")
    receiver.wait(lambda: [
        r for r in receiver.answered(path) if r.type == "MailboxCreate"])
    events = receiver.answered(path)
    assert {r.type for r in events} == \
        {"MessageNew", "MessageAppend", "MailboxCreate"}
    uris = [r.data["uri"] for r in events if r.owner == encode_user(ONE)]
    assert [uri.rpartition("=")[2] for uri in uris[:-1]] == \
        [str(n) for n in range(1, int(last) + 1)]

    homes = {path.name: path.stat().st_uid
             for path in (dovecot.top / "mail").iterdir()}
    assert homes == {
        "virtual": {ONE: 5000, TWO: 5000},
        "system": {ONE: 5101, TWO: 5102},
        "rootless": dict.fromkeys((ONE, TWO), dovecot.owner.pw_uid)}[setup]
    checked = check(dovecot)
    assert problems(checked.stdout) == []
    assert checked.returncode == 0, checked.stdout + checked.stderr


def test_rootless_is_what_it_says(private):
    """No process of root, nothing but its directory and /tmp to write to."""
    dovecot, _, _ = private(daemon="service", rootless=True)
    pids = [dovecot.process.pid, *dovecot.daemon_pids()]
    assert len(pids) == 2
    for pid in pids:
        assert os.stat(f"/proc/{pid}").st_uid == dovecot.owner.pw_uid
        inside = f"/proc/{pid}/root"
        assert not os.access(f"{inside}/var/lib", os.W_OK)
        assert os.stat(f"{inside}/run").st_mode & 0o777 == 0
