"""Expectations: what a mail user's operations must publish, field by field,
and nothing else."""

import itertools
import re
from urllib.parse import quote

from .dovecot import SERVER_NAME

# RFC 5092: achar and bchar beside letters, digits and the unreserved marks.
ACHAR = "!$'()*+,&=-._~"
BCHAR = ACHAR + ":@/"

TIMESTAMP = re.compile(
    r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}(Z|[+-]\d\d:\d\d)")
UUID7 = re.compile(
    r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")

# Members whose value no test can know beforehand; their form is checked and
# they must be there. `session` is there if there is a client.
VOLATILE = {
    "timestamp": lambda v: isinstance(v, str) and TIMESTAMP.fullmatch(v),
    "pid": lambda v: isinstance(v, int) and v > 1,
    "serverFQDN": lambda v: isinstance(v, str) and v,
}
TRANSACTION = "vnd.mailhook.transaction"
SESSION = "vnd.mailhook.session"
MESSAGE_TYPES = {"MessageNew", "MessageAppend", "MessageExpunge",
                 "MessageExpire", "MessageRead", "MessageTrash", "FlagsSet",
                 "FlagsClear"}

_marker = itertools.count(1)


def encode_user(user):
    return quote(user, safe=ACHAR, encoding="utf-8")


def encode_mailbox(name):
    return quote(name, safe=BCHAR, encoding="utf-8")


def mailbox_url(user, name, uidvalidity=None, uid=None):
    url = f"imap://{encode_user(user)}@{SERVER_NAME}/{encode_mailbox(name)}"
    if uidvalidity:
        url += f";UIDVALIDITY={uidvalidity}"
    if uid:
        url += f"/;UID={uid}"
    return url


class Mail:
    """One mail user, on one Dovecot, as one endpoint sees it."""

    def __init__(self, dovecot, receiver, path, user):
        self.dovecot = dovecot
        self.receiver = receiver
        self.path = path
        self.user = user
        self._taken = 0

    def imap(self):
        return self.dovecot.imap(self.user)

    def deliver(self, mail, *others):
        """LMTP to this user; returns the client's port."""
        with self.dovecot.lmtp() as lmtp:
            lmtp.deliver(mail, self.user, *others)
            return lmtp.port

    # -- what came

    def requests(self):
        return [r for r in self.receiver.answered(self.path)
                if r.owner == encode_user(self.user)]

    def wait(self, count, what=None):
        """Waits for that many events since the last take()."""
        self.receiver.wait(
            lambda: len(self.requests()) >= self._taken + count,
            what=what or f"{count} events of {self.user}")

    def mark(self):
        """An event of this user behind everything it has done: order is
        strict per owner, so nothing can be under way once it came."""
        name = f"marker{next(_marker)}"
        self.dovecot.doveadm("mailbox", "subscribe", "-u", self.user, name)
        self.receiver.wait(
            lambda: any(r.data.get("vnd.mailhook.mailbox") == name
                        for r in self.requests()),
            what=f"the marker event of {self.user}")
        return name

    def take(self):
        """All events since the last take(), the marker left out."""
        name = self.mark()
        new = self.requests()[self._taken:]
        self._taken += len(new)
        assert new[-1].data["vnd.mailhook.mailbox"] == name
        for request in new:
            check_envelope(request)
        return new[:-1]

    # -- what should have come

    def data(self, mailbox, client=None, process="imap", **fields):
        """The data that any mailbox event of this user has, and `fields`;
        `_` in a name stands for the vendor prefix: _cause."""
        service = {"pop3": "pop", "doveadm": "admincli"}.get(process, process)
        data = {"user": self.user, "service": service, "process": process,
                "vnd.mailhook.mailbox": mailbox}
        if client is not None:
            data["clientIP"] = "127.0.0.1"
            data["clientPort"] = getattr(client, "port", client)
            data["serverDomain"] = SERVER_NAME
            data["serverPort"] = {
                "imap": self.dovecot.imap_port,
                "pop3": self.dovecot.pop3_port,
                "lmtp": self.dovecot.lmtp_port}[process]
        for name, value in fields.items():
            if name.startswith("_"):
                name = "vnd.mailhook." + name[1:]
            if value is not None:
                data[name] = value
        return data

    def mailbox_event(self, kind, mailbox, uidvalidity, guid, **fields):
        url = mailbox_url(self.user, mailbox, uidvalidity)
        fields = {"uri": url, "mailboxID": url, "_mailboxGuid": guid,
                  **fields}
        return kind, self.data(mailbox, **fields)

    def message_event(self, kind, mailbox, uidvalidity, uid, guid, **fields):
        """MessageNew and MessageAppend: the URI names the message."""
        kind, data = self.mailbox_event(kind, mailbox, uidvalidity, guid,
                                        **fields)
        data["uri"] = mailbox_url(self.user, mailbox, uidvalidity, uid)
        return kind, data

    def expect(self, *events):
        """Exactly these came since the last take(), in this order. Returns
        the requests."""
        came = self.take()
        assert [r.type for r in came] == [kind for kind, _ in events]
        for request, (kind, data) in zip(came, events):
            came_data = settled(request)
            assert came_data == data, kind
        return came


def settled(request):
    """An event's data without the volatile members, whose form is checked."""
    data = dict(request.data)
    for name, valid in VOLATILE.items():
        assert valid(data.get(name)), f"{request.type}: {name} in {data}"
        del data[name]
    if "clientIP" in data:
        assert data.pop(SESSION, None), f"{request.type}: session in {data}"
    else:
        data.pop(SESSION, None)
    transaction = data.pop(TRANSACTION, None)
    if transaction is not None:
        assert UUID7.fullmatch(transaction), transaction
        assert request.type in MESSAGE_TYPES
    return data


def check_envelope(request):
    """What holds for every request (design: envelope, headers)."""
    event = request.event
    assert request.valid, "signature"
    assert request.headers["content-type"].split(";")[0] == \
        "application/cloudevents+json"
    assert request.headers["user-agent"].startswith("mailhook/")
    assert event["specversion"] == "1.0"
    assert event["id"] == request.id and UUID7.fullmatch(request.id)
    assert event["time"] == event["data"]["timestamp"]
    assert re.fullmatch(rf"imap://{re.escape(SERVER_NAME)}/#.+",
                        event["source"])
    assert re.fullmatch(r"\d{20}", event["sequence"])
    assert event["stream"]
    mailbox = event["data"].get("vnd.mailhook.mailbox")
    subject = request.owner
    if mailbox is not None:
        subject += "/" + encode_mailbox(mailbox)
    assert event["subject"] == subject
