"""Mail processes whose every call on mailhook's files fails, one at a time:
mail goes on as if nothing were, and whatever is lost by it is told, in the
right number.

MAILHOOK_TORTURE=all in the environment tries every call; without it, a
sample."""

import errno
import mmap
import os
import struct
import subprocess
import time

import pytest

from harness import build
from harness.clients import message
from harness.dialect import SERIES, block, lines
from harness.dovecot import let_in
from harness.expect import encode_user
from test_recovery import is_gap

SOURCE = build.SOURCE / "tests" / "system" / "faults-preload.c"
KINDS = {"open": (1, errno.EMFILE), "write": (2, errno.EDQUOT),
         "sync": (4, errno.EIO), "look": (8, errno.EIO)}
MAIL = message()


class Faults:
    """What the mail processes share with us."""

    def __init__(self, top):
        self.path = top / "faults"
        self.path.write_bytes(bytes(4096))
        self.path.chmod(0o666)
        with open(self.path, "r+b") as file:
            self.map = mmap.mmap(file.fileno(), 4096)

    def arm(self, kind, at, burst=1):
        number, error = KINDS[kind]
        self.map[:24] = struct.pack("6I", number, at, burst, error, 0, 0)

    def disarm(self):
        """How many calls there were, and how many of them failed."""
        *_, seen, hits = struct.unpack("6I", self.map[:24])
        self.map[:24] = bytes(24)
        return seen, hits


@pytest.fixture(scope="module")
def library():
    path = build.BUILD / "faults-preload.so"
    subprocess.run(["cc", "-shared", "-fPIC", "-O1", "-o", path, SOURCE],
                   check=True)
    return path


@pytest.fixture(scope="module")
def shared_faults(tmp_path_factory):
    top = tmp_path_factory.mktemp("faults")
    let_in(top)
    return Faults(top)


def use(dovecot, user):
    """A delivery and a session; each of them would show a failure. Returns
    what must be told of it."""
    with dovecot.lmtp() as lmtp:
        lmtp.deliver(MAIL, user)
    with dovecot.imap(user) as imap:
        imap.append("INBOX", MAIL)
        imap.ok("SELECT INBOX")
        imap.ok("STORE 1:2 +FLAGS (\\Seen)")
        imap.ok("EXPUNGE")
        assert imap.status("INBOX")["messages"] == 2
    return {"MessageNew", "MessageAppend", "MessageRead"}


def places(count):
    if os.environ.get("MAILHOOK_TORTURE") == "all" or count <= 6:
        return range(1, count + 1)
    step = -(-count // 6)
    return range(1 + int(time.time()) // 86400 % step, count + 1, step)


def test_mail_goes_on_whatever_call_fails(private, receiver, library,
                                          shared_faults):
    power = {"mailhook_durability": "power"}
    dovecot, _, path = private(
        environment={"LD_PRELOAD": library,
                     "MAILHOOK_FAULTS": shared_faults.path},
        extra=block("plugin", power) if SERIES == "2.3" else lines(power))
    use(dovecot, "warm@example.org")
    expected, failed = {}, 0
    for kind in KINDS:
        shared_faults.arm(kind, 0xffffffff)
        use(dovecot, f"{kind}-none@example.org")
        count, hits = shared_faults.disarm()
        assert count > 0 and hits == 0, kind
        for at in places(count):
            user = f"{kind}-{at}@example.org"
            shared_faults.arm(kind, at)
            expected[encode_user(user)] = use(dovecot, user)
            failed += shared_faults.disarm()[1]
    assert failed >= len(KINDS)
    # It looks at the losses as it starts.
    dovecot.stop_daemon()
    dovecot.start_daemon()
    use(dovecot, "last@example.org")
    receiver.wait(lambda: [
        r for r in receiver.answered(path) if r.type == "MessageRead" and
        r.owner == encode_user("last@example.org")], what="the last event")
    came = receiver.answered(path)
    told = sum(r.data.get("vnd.mailhook.lost", 0)
               for r in {r.id: r for r in came if is_gap(r)}.values())
    missing = [(owner, kind) for owner, kinds in expected.items()
               for kind in kinds - {r.type for r in came
                                    if r.owner == owner}]
    # A record whose sync failed counts as lost, and comes all the same.
    assert len(missing) <= told <= failed, (missing, told, failed)
    # Nothing died of it.
    assert not [line for line in dovecot.log().splitlines()
                if "Panic" in line or "killed with signal" in line]
