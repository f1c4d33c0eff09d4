"""One event of each type, made to happen and compared octet for octet with
doc/samples/TYPE.json, which doc/events.md shows. What differs from run to run
or between the series of Dovecot is replaced. To write the samples anew:

    MAILHOOK_WRITE_SAMPLES=1 pytest test_samples.py
"""

import json
import os
import re

import pytest

from conftest import Configuration
from harness import build, schema
from harness.death import Death
from harness.dialect import DIALECT, QuotaRoot, User
from harness.dovecot import MAIL_UID, Dovecot
from harness.expect import Mail
from harness.receiver import Answer

SAMPLES = build.SOURCE / "doc" / "samples"
USER = "ann@example.org"

HELLO = b"""\
From: Bob <bob@example.net>\r
To: Ann <ann@example.org>\r
Subject: =?utf-8?q?Gr=C3=BC=C3=9Fe?=\r
Date: Tue, 24 Nov 2026 04:30:00 +0100\r
Message-ID: <1@example.net>\r
Content-Type: text/plain; charset=us-ascii\r
\r
Good morning.\r
"""
BIG = HELLO + b"A line of text, forty octets in length.\r\n" * 1000

NO_NUMBER = "0" * 20
TIME = "2026-11-24T04:30:35.123+01:00"
PORTS = {"imap": 143, "lmtp": 24}
ENVELOPE = {"id": "019ab5c0-6a3e-7c21-9d0f-5b8a7f0c2e11", "time": TIME,
            "source": "imap://mail.example.org/#mx1.example.org",
            "stream": "4c7d3f0e-5f1b-4a58-8c0e-6f1d3b2a9e70",
            "sequence": "00000000000000000042"}
DATA = {"timestamp": TIME, "pid": 4711, "clientPort": 50123, "modseq": 7,
        "serverFQDN": "mx1.example.org",
        "vnd.mailhook.session": "kP0c8S9EkOZ/AAAB",
        "vnd.mailhook.transaction": "019ab5c0-6a3e-7c21-9d0f-5b8a7f0c2e12",
        "vnd.mailhook.mailboxGuid": "2c8a3f1b7d5e6a4f9b0c1d2e3f405162",
        "vnd.mailhook.since": TIME, "vnd.mailhook.until": TIME,
        "vnd.mailhook.sequences": "41", "vnd.mailhook.duration": 61,
        "vnd.mailhook.bytesIn": 1234, "vnd.mailhook.bytesOut": 5678}


def sample(event):
    """An event as it may be compared and shown."""
    event = {name: ENVELOPE.get(name, value) if value != NO_NUMBER else value
             for name, value in event.items()}
    data = event["data"] = {name: DATA.get(name, value)
                            for name, value in event["data"].items()}
    if "serverPort" in data:
        data["serverPort"] = PORTS[data["service"]]
    if event["type"].endswith(".MessageNew"):
        # What Dovecot puts on top differs.
        data["messageSize"] = 742
    text = json.dumps(event, indent=2, ensure_ascii=False) + "\n"
    return re.sub(r";UIDVALIDITY=\d+", ";UIDVALIDITY=1795490000", text)


class Story:
    """A day in the life of one mail user, with every event in it."""

    def __init__(self, receiver):
        self.configuration = Configuration(receiver)
        self.path = self.configuration.add(
            "portal", events="{}", retry_first='"10m"', tags='{"portal"}',
            parameters='{"envelope", "bodyStructure", "messageContent", '
                       '"headers", "unseen"}', content_part='"body"')
        self.death = Death(("imap",))
        self.dovecot = Dovecot(
            config=self.configuration.text(), protocols=("imap", "lmtp"),
            acl=True, metadata=True, quota=[QuotaRoot()],
            users=[self._user("100K")],
            extra=DIALECT.autoexpunge("Trash", 1) +
            self.death.configuration())
        self.configuration.dovecot = self.dovecot
        self.mail = Mail(self.dovecot, receiver, self.path, USER)

    @staticmethod
    def _user(storage):
        return User(USER, MAIL_UID, fields=DIALECT.user_quota(storage=storage))

    def wait(self, kind):
        self.mail.receiver.wait(lambda: self.all(kind), what=kind)

    def all(self, kind):
        return [r for r in self.mail.receiver.answered(self.path)
                if r.type == kind]

    def live(self):
        self.mail.deliver(HELLO)
        with self.mail.imap() as imap:
            self._messages(imap)
            self._mailboxes(imap)
            self._full(imap)
        self.wait("QuotaWithin")
        self.dovecot.change_users([self._user("200K")])
        with self.mail.imap() as imap:
            self.wait("QuotaChange")
            imap.append("Trash", HELLO)
            imap.append("Trash", HELLO)
        self.wait("MessageExpire")
        assert self.dovecot.ask("test", endpoint="portal")["ok"]
        self._killed()
        self._gap()

    @staticmethod
    def _messages(imap):
        imap.append("INBOX", HELLO, "\\Flagged $Label1")
        imap.ok("SELECT INBOX")
        imap.ok("STORE 1 +FLAGS (\\Seen)")
        imap.ok("STORE 1:2 +FLAGS (\\Answered $Work)")
        imap.ok("STORE 1:2 -FLAGS ($Work)")
        imap.ok("STORE 2 +FLAGS (\\Deleted)")
        imap.ok("EXPUNGE")

    @staticmethod
    def _mailboxes(imap):
        imap.ok("CREATE Plans")
        imap.ok("CREATE Trash")
        imap.ok('SETMETADATA Plans (/shared/comment "secret")')
        imap.ok("SETACL Plans $team lr")
        imap.ok("SUBSCRIBE Plans")
        imap.ok("UNSUBSCRIBE Plans")
        imap.ok("RENAME Plans Projects")
        imap.ok("DELETE Projects")

    def _full(self, imap):
        imap.append("INBOX", BIG)
        imap.append("INBOX", BIG)
        imap.no("APPEND INBOX", BIG)
        imap.ok("STORE 2:* +FLAGS.SILENT (\\Deleted)")
        imap.ok("EXPUNGE")

    def _killed(self):
        """Between a change and its event."""
        imap = self.mail.imap()
        imap.ok("SELECT INBOX")
        with self.death.at("append") as killed, pytest.raises(EOFError):
            imap.ok("STORE 1 +FLAGS (\\Flagged)")
        assert killed()
        self.wait("vnd.mailhook.Resync")

    def _gap(self):
        """An event is refused, and given up by somebody."""
        receiver = self.mail.receiver
        self.mail.mark()
        refused = len(receiver.on(self.path))
        receiver.script(self.path, Answer(500))
        self.dovecot.doveadm("mailbox", "create", "-u", USER, "Refused")
        receiver.wait(lambda: len(receiver.on(self.path)) > refused)
        one = receiver.on(self.path)[refused].id
        receiver.wait(lambda: self.dovecot.ask(
            "drop", endpoint="portal", id=one)["ok"], what="a parked event")
        self.wait("vnd.mailhook.Gap")


@pytest.fixture(scope="module")
def story(receiver):
    one = Story(receiver)
    try:
        with one.dovecot:
            one.live()
            yield one
    finally:
        one.death.remove()


KINDS = sorted(schema.event_types())


@pytest.mark.parametrize("kind", KINDS)
def test_each_event_is_as_its_sample_shows(story, kind):
    path = SAMPLES / f"{kind}.json"
    came = sample(story.all(kind)[0].event)
    if os.environ.get("MAILHOOK_WRITE_SAMPLES"):
        path.write_text(came, "utf-8")
    assert came == path.read_text("utf-8")


def test_there_are_no_others(story):
    assert {r.type for r in story.mail.receiver.on(story.path)} == set(KINDS)
    assert {path.name for path in SAMPLES.iterdir()} == {
        f"{kind}.json" for kind in KINDS}
