"""Mail processes that are killed between a change and its event. All deaths
come first, each of a user of its own; then what was told of each is looked
at: the event or a Resync, never neither, and what IMAP shows."""

import fcntl
import os
import signal
import struct
import time

import pytest

from conftest import STORE_EVENTS, Configuration, fresh_user
from harness.clients import message
from harness.death import Death
from harness.dialect import Namespace
from harness.dovecot import Dovecot
from harness.expect import (Mail, check_envelope, encode_mailbox, encode_user,
                            mailbox_url)

RESYNC = "vnd.mailhook.Resync"
MAIL = message()
ACTOR = "actor@example.org"
LONG = "/".join(letter * 200 for letter in "abcdef")

DEATHS = []


class Case:
    """What one death is about; filled by the function that brings it about,
    which yields when all is prepared and does the deadly thing then."""

    def __init__(self, function, step, number):
        self.run = function
        self.name = function.__name__
        self.step, self.number = step, number
        self.mail = self.before = self.box = self.old = None
        self.events, self.resyncs = [], 1
        self.shows = lambda imap: None
        self.kept = []


def death(step, number=1):
    def register(function):
        DEATHS.append(Case(function, step, number))
        return function
    return register


def session(case, *mails, box="INBOX"):
    """A session with these in the mailbox, which is as case.before says."""
    imap = case.mail.imap()
    if box != "INBOX":
        imap.ok(f'CREATE "{box}"')
    for one in mails:
        imap.append(box, one)
    imap.ok(f'SELECT "{box}"')
    case.box = box
    case.before = imap.status(box)
    case.mail.take()
    return imap


def flags(imap):
    imap.ok("SELECT INBOX")
    return set(imap.fetch(1)["flags"]) - {"\\Recent"}


def names(imap, command="LIST"):
    return {line.rsplit(b" ", 1)[1].strip(b'"').decode()
            for line in imap.ok(f'{command} "" "*"')}


@death("append")
def append(case):
    imap = session(case, MAIL)
    case.shows = lambda imap: (
        imap.status("INBOX")["messages"] == 2)
    yield
    imap.append("INBOX", MAIL)


@death("append")
def store(case):
    imap = session(case, MAIL)
    case.shows = lambda imap: (
        "\\Flagged" in flags(imap))
    yield
    imap.ok("STORE 1 +FLAGS (\\Flagged)")


@death("append")
def expunge(case):
    imap = session(case, MAIL)
    imap.ok("STORE 1 +FLAGS (\\Deleted)")
    case.before = imap.status("INBOX")
    case.mail.take()
    case.shows = lambda imap: (
        imap.status("INBOX")["messages"] == 0)
    yield
    imap.ok("EXPUNGE")


@death("append")
def copy(case):
    imap = session(case, MAIL, box="Target")
    imap.append("INBOX", MAIL)
    imap.ok("SELECT INBOX")
    case.mail.take()
    case.shows = lambda imap: (
        imap.status("Target")["messages"] == 2)
    yield
    imap.ok("COPY 1 Target")


@death("append")
def move_its_copy(case):
    """The message is at both places then."""
    imap = session(case, box="Target")
    imap.append("INBOX", MAIL)
    imap.ok("SELECT INBOX")
    case.mail.take()
    case.shows = lambda imap: (
        imap.status("Target")["messages"] == 1 and
        imap.status("INBOX")["messages"] == 1)
    yield
    imap.ok("MOVE 1 Target")


@death("append", 2)
def move_its_source(case):
    imap = session(case, MAIL)
    imap.ok("CREATE Target")
    case.mail.take()
    case.events = ["MessageAppend"]
    case.shows = lambda imap: (
        imap.status("Target")["messages"] == 1 and
        imap.status("INBOX")["messages"] == 0)
    yield
    imap.ok("MOVE 1 Target")


@death("append", 3)
def one_of_several(case):
    """Those before it in the same process are told."""
    imap = session(case, MAIL)
    case.events = ["FlagsSet", "FlagsClear"]
    case.shows = lambda imap: (
        flags(imap) == {"\\Answered"})
    yield
    imap.ok("STORE 1 +FLAGS (\\Flagged)")
    imap.ok("STORE 1 -FLAGS (\\Flagged)")
    case.before = imap.status("INBOX")
    imap.ok("STORE 1 +FLAGS (\\Answered)")


@death("append")
def create(case):
    imap = session(case)
    case.box, case.before = "New", None
    case.shows = lambda imap: (
        names(imap) >= {"New"})
    yield
    imap.ok("CREATE New")


@death("append")
def delete(case):
    imap = session(case, MAIL, box="Old")
    imap.ok("SELECT INBOX")
    case.shows = lambda imap: (
        "Old" not in names(imap))
    yield
    imap.ok("DELETE Old")


@death("append")
def rename(case):
    imap = session(case, box="One")
    imap.ok("SELECT INBOX")
    case.box, case.old, case.before = "Two", "One", None
    case.shows = lambda imap: (
        "One" not in names(imap) and "Two" in names(imap))
    yield
    imap.ok("RENAME One Two")


@death("append")
def subscribe(case):
    imap = session(case, box="News")
    imap.ok("SELECT INBOX")
    case.before = None
    case.shows = lambda imap: (
        names(imap, "LSUB") >= {"News"})
    yield
    imap.ok("SUBSCRIBE News")


@death("append")
def set_metadata(case):
    imap = session(case, box="Notes")
    case.shows = lambda imap: (
        b"hello" in b"".join(
            imap.ok("GETMETADATA Notes /shared/comment")))
    yield
    imap.ok('SETMETADATA Notes (/shared/comment "hello")')


@death("append")
def set_acl(case):
    imap = session(case, box="Team")
    case.shows = lambda imap: (
        b"$team" in b"".join(imap.ok("GETACL Team")))
    yield
    imap.ok("SETACL Team $team lr")


@death("append")
def deliver(case):
    imap = session(case, MAIL)
    imap.logout()
    case.shows = lambda imap: (
        imap.status("INBOX")["messages"] == 2)
    yield
    case.mail.deliver(MAIL)


@death("append", 2)
def deliver_to_the_second(case):
    """Several users in one process: the first one's is told."""
    session(case, MAIL).logout()
    case.other = Mail(case.mail.dovecot, case.mail.receiver, case.mail.path,
                      fresh_user("other"))
    case.shows = lambda imap: (
        imap.status("INBOX")["messages"] == 2)
    yield
    with case.mail.dovecot.lmtp() as lmtp:
        lmtp.deliver(MAIL, case.other.user, case.mail.user)


@death("append")
def pop3_quit(case):
    session(case, MAIL, MAIL).logout()
    pop3 = case.mail.dovecot.pop3(case.mail.user)
    pop3.raw.dele(1)
    case.shows = lambda imap: (
        imap.status("INBOX")["messages"] == 1)
    yield
    pop3.quit()


@death("append")
def doveadm(case):
    session(case, MAIL, MAIL).logout()
    case.shows = lambda imap: (
        imap.status("INBOX")["messages"] == 1)
    yield
    dovecot = case.mail.dovecot
    dovecot.doveadm("expunge", "-S", dovecot.top / "run" / "doveadm-server",
                    "-u", case.mail.user, "mailbox", "INBOX", "1")


@death("append")
def long_name(case):
    """It has no room in the slot."""
    imap = session(case, MAIL, box=LONG)
    case.box = case.before = None
    yield
    imap.ok("STORE 1 +FLAGS (\\Flagged)")


@death("clearing")
def emptied_and_deleted(case):
    """Nobody wants MailboxDelete; the mails were expunged by it."""
    imap = session(case, MAIL, box="Old")
    imap.ok("SELECT INBOX")
    case.shows = lambda imap: (
        "Old" not in names(imap))
    yield
    imap.ok("DELETE Old")


@death("intended")
def not_yet(case):
    """Told in vain."""
    imap = session(case, MAIL)
    case.shows = lambda imap: (
        "\\Flagged" not in flags(imap))
    yield
    imap.ok("STORE 1 +FLAGS (\\Flagged)")


@death("appended")
def told_already(case):
    imap = session(case, MAIL)
    case.events = ["FlagsSet"]
    case.shows = lambda imap: (
        "\\Flagged" in flags(imap))
    yield
    imap.ok("STORE 1 +FLAGS (\\Flagged)")


@death("cleared")
def over(case):
    imap = session(case, MAIL)
    case.events, case.resyncs = ["FlagsSet"], 0
    case.shows = lambda imap: (
        "\\Flagged" in flags(imap))
    yield
    imap.ok("STORE 1 +FLAGS (\\Flagged)")


@death(None)
def idle_after_refusals(case):
    """What is refused or changes nothing leaves nothing."""
    imap = session(case, MAIL)
    case.events, case.resyncs = ["FlagsSet"], 0
    imap.no("COPY 1 Nowhere")
    imap.no("APPEND Nowhere", MAIL)
    imap.no("CREATE INBOX")
    imap.no("DELETE Nowhere")
    imap.no("RENAME Nowhere Elsewhere")
    imap.ok("STORE 1 -FLAGS (\\Flagged)")
    imap.command("STORE 1 (UNCHANGEDSINCE 1) +FLAGS (\\Answered)")
    imap.ok("STORE 1 +FLAGS (\\Flagged)")
    yield
    for pid in processes_of(case.mail.dovecot):
        os.kill(pid, signal.SIGKILL)
    imap.ok("NOOP")


@death("append", 2)
def in_anothers_mailbox(case):
    """It is told in the owner's lane."""
    imap = session(case, MAIL)
    imap.ok(f"SETACL INBOX {ACTOR} lrswipte")
    case.mail.take()
    actor = case.mail.dovecot.imap(ACTOR)
    case.kept += [imap, actor]
    shared = f"shared/{case.mail.user}/INBOX"
    actor.ok(f'SELECT "{shared}"')
    case.before = actor.status(shared)
    case.events = ["FlagsSet"]
    case.shows = lambda imap: (
        flags(imap) >= {"\\Flagged", "\\Answered"})
    yield
    actor.ok("STORE 1 +FLAGS (\\Flagged)")
    case.before = actor.status(shared)
    actor.ok("STORE 1 +FLAGS (\\Answered)")


def processes_of(dovecot, name=b"imap"):
    found = []
    for entry in os.listdir("/proc"):
        try:
            with open(f"/proc/{entry}/cmdline", "rb") as file:
                command = file.read().split(b"\0")[0]
            with open(f"/proc/{entry}/environ", "rb") as file:
                ours = str(dovecot.state).encode() in file.read()
        except (OSError, ValueError):
            continue
        if ours and os.path.basename(command) == name:
            found.append(int(entry))
    return found


def die(case, doom):
    """Goes on until the process is dead."""
    story = case.run(case)
    next(story)
    try:
        if case.step is None:
            next(story)
        else:
            with doom.at(case.step, case.number) as died:
                next(story)
    except Exception as error:
        # However the client takes it.
        assert case.step is None or died(), (case.name, error)
        return
    raise AssertionError(f"{case.name}: nobody died")


class Place:
    """A Dovecot of this kind, its endpoints, and how its processes die."""

    def __init__(self, receiver, daemon="service"):
        self.receiver = receiver
        self.doom = Death()
        self.configuration = Configuration(receiver)
        self.all = self.configuration.add(
            "all", users='{"!mails*", "!quiet*", "*"}')
        self.messages = self.configuration.add(
            "messages", users='{"mails*"}', events='{"message", "subscription"}')
        self.dovecot = Dovecot(
            daemon=daemon, config=self.configuration.text(), acl=True,
            metadata=True, namespaces=[
                Namespace("shared", type="shared", prefix="shared/{owner}/",
                          path="{mail}/{owner}/sdbox", list="children",
                          subscriptions=False),
                Namespace("more", prefix="More/", separator="/",
                          driver="maildir", path="{home}/more")],
            extra=self.doom.configuration())

    def mail(self, name="user"):
        path = self.messages if name == "mails" else self.all
        return Mail(self.dovecot, self.receiver, path, fresh_user(name))

    def resyncs(self, user, path=None):
        return [r for r in self.receiver.answered(path or self.all)
                if r.type == RESYNC and r.owner == encode_user(user)]

    def wait_for_resync(self, user, path=None):
        end = time.monotonic() + 60
        while not self.resyncs(user, path):
            assert time.monotonic() < end, f"no Resync for {user}"
            # Where nothing happens the daemon looks once a minute.
            self.mail().mark()
            time.sleep(0.5)
        return self.resyncs(user, path)[-1]

    def remove(self):
        self.dovecot.remove()
        self.doom.remove()


@pytest.fixture(scope="module")
def place(receiver):
    one = Place(receiver)
    try:
        one.dovecot.start()
        yield one
    finally:
        one.remove()


@pytest.fixture(scope="module")
def died(place):
    """All of them have, and it has been told."""
    for case in DEATHS:
        case.mail = place.mail(
            "mails" if case.run is emptied_and_deleted else "user")
        die(case, place.doom)
    for case in DEATHS:
        if case.resyncs:
            place.wait_for_resync(case.mail.user, path=case.mail.path)
    # Whatever else would come has come with the next look.
    time.sleep(2.5)
    place.mail().mark()
    return {case.name: case for case in DEATHS}


@pytest.mark.parametrize("name", [case.name for case in DEATHS])
def test_either_the_event_or_a_resync(place, died, name):
    case = died[name]
    came = case.mail.requests()[case.mail._taken:]
    assert [r.type for r in came] == case.events + [RESYNC] * case.resyncs
    if case.resyncs:
        check_resync(case, came[-1])
    with case.mail.imap() as imap:
        assert case.shows(imap) in (True, None)
    for one in case.kept:
        one.raw.sock.close()


def check_resync(case, request):
    check_envelope(request)
    data = dict(request.data)
    user = case.mail.user
    if case.run is in_anothers_mailbox:
        assert data.pop("user") == ACTOR
        assert data.pop("vnd.mailhook.owner") == user
    else:
        assert data.pop("user") == user
    assert (data.pop("service"), data.pop("process")) == (
        "mailhook", "mailhookd")
    assert data.pop("vnd.mailhook.reason") == \
        "a mail process died while it changed this"
    for name in ("pid", "serverFQDN", "timestamp", "vnd.mailhook.since"):
        data.pop(name)
    if case.box is None:
        assert data == {"uri": f"imap://{encode_user(user)}@mail.example.org/"}
        return
    expected = {"vnd.mailhook.mailbox": case.box}
    valid = None
    if case.before:
        valid = case.before["uidvalidity"]
        expected["uidnext"] = case.before["uidnext"]
        expected["modseq"] = case.before["highestmodseq"]
    expected["uri"] = expected["mailboxID"] = mailbox_url(user, case.box,
                                                          valid)
    if case.old:
        expected["oldMailboxID"] = mailbox_url(user, case.old)
    assert data == expected


@pytest.mark.usefixtures("died")
def test_a_create_that_meets_another_process(place):
    """Who comes upon a maildir that is being made finishes it, and its CREATE
    is refused: it exists. It did not before, so it is told; once."""
    mail = place.mail()
    with mail.imap() as imap:
        mail.take()
        with place.doom.at("met"):
            imap.no("CREATE More/New")
        valid = imap.status("More/New")["uidvalidity"]
        guid = mail.dovecot.mailbox_guid(mail.user, "More/New")
        mail.expect(mail.mailbox_event("MailboxCreate", "More/New", valid,
                                       guid, client=imap))
        imap.no("CREATE More/New")
        mail.expect()


@pytest.mark.usefixtures("died")
def test_nobody_wants_to_know(place):
    """Then nothing is written."""
    mail = place.mail("quiet")
    with mail.imap() as imap:
        imap.append("INBOX", MAIL)
        imap.ok("SELECT INBOX")
        with place.doom.at("intended"):
            imap.ok("STORE 1 +FLAGS (\\Flagged)")
            imap.ok("CREATE New")
            imap.ok("DELETE New")


@pytest.mark.usefixtures("died")
def test_no_slot_is_free(place):
    """All is as without intents; losses would still be counted."""
    mail = place.mail()
    with open(place.dovecot.state / "presence", "r+b") as others:
        # F_OFD_SETLK; those that are in use stay with who has them.
        for slot in range(1, 4096):
            try:
                fcntl.fcntl(others, 37, struct.pack(
                    "hhqqixxxx", fcntl.F_WRLCK, os.SEEK_SET,
                    4096 + slot * 128, 128, 0))
            except BlockingIOError:
                pass
        with mail.imap() as imap:
            imap.append("INBOX", MAIL)
            imap.ok("SELECT INBOX")
            with place.doom.at("intended"):
                imap.ok("STORE 1 +FLAGS (\\Flagged)")
            assert [r.type for r in mail.take()] == ["MessageAppend",
                                                     "FlagsSet"]


@pytest.fixture
def alone(receiver):
    """With a daemon beside Dovecot."""
    one = Place(receiver, daemon="foreground")
    try:
        one.dovecot.start_daemon()
        one.dovecot.start()
        yield one
    finally:
        one.remove()


def test_daemon_absent_and_killed(alone):
    """However late it comes and however often it dies: told once."""
    dovecot = alone.dovecot
    cases = [Case(function, "append", 1) for function in (store, expunge)]
    for case in cases:
        case.mail = alone.mail()
        story = case.run(case)
        next(story)
        if case is cases[0]:
            first = story
    dovecot.stop_daemon(signal.SIGKILL)
    for one in (first, story):
        with alone.doom.at("append") as killed:
            with pytest.raises(EOFError):
                next(one)
            assert killed()
    for delay in (0.02, 0.04, 0.06, 0.1, 0.15, 0.2, 0.3):
        dovecot.start_daemon(wait=False)
        time.sleep(delay)
        dovecot.stop_daemon(signal.SIGKILL)
    dovecot.start_daemon()
    for case in cases:
        check_resync(case, alone.wait_for_resync(case.mail.user))
    alone.mail().mark()
    dovecot.stop_daemon()
    dovecot.start_daemon()
    alone.mail().mark()
    for case in cases:
        assert len({r.id for r in alone.resyncs(case.mail.user)}) == 1
    journal = b"".join(path.read_bytes()
                       for path in dovecot.state.glob("journal*"))
    assert journal.count(b'"vnd.mailhook.Resync"') == 2


def test_presence_cut_short(alone):
    """Mail goes on, with and without somebody dying; the next daemon makes a
    new one."""
    dovecot, mail = alone.dovecot, alone.mail()
    imap = mail.imap()
    imap.append("INBOX", MAIL)
    imap.ok("SELECT INBOX")
    os.truncate(dovecot.state / "presence", 5000)
    for _ in range(3):
        imap.ok("STORE 1 +FLAGS (\\Flagged)")
        imap.ok("STORE 1 -FLAGS (\\Flagged)")
    with alone.doom.at("append") as killed:
        with pytest.raises(EOFError):
            imap.ok("STORE 1 +FLAGS (\\Flagged)")
        assert killed()
    dovecot.stop_daemon()
    dovecot.start_daemon()
    case = Case(store, "append", 1)
    case.mail = alone.mail()
    die(case, alone.doom)
    check_resync(case, alone.wait_for_resync(case.mail.user))
    assert "Panic" not in dovecot.log()
