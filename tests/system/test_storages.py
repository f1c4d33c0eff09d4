"""The core operations on every storage format, in the inbox namespace and in
one with a prefix and another separator: the same events, and numbers that
agree with what IMAP says next."""

import pytest

from harness.clients import message
from harness.dialect import Namespace
from harness.expect import TRANSACTION, mailbox_url

SMALL = message("Small", "One line.\n")
LARGE = message("Large", "A line of some length.\n" * 2000)


@pytest.fixture(scope="module", params=["sdbox /", "mdbox .", "maildir .",
                                        "maildir /"])
def server(request, serve):
    driver, separator = request.param.split()
    one = serve(mail_driver=driver, separator=separator, namespaces=[
        Namespace("more", prefix=f"More{separator}", separator=separator,
                  driver=driver, path="{home}/more")])
    one.driver, one.separator = driver, separator
    return one


@pytest.fixture
def mail(server):
    return server.mail()


class Box:
    """A mailbox, and its state as IMAP tells it."""

    def __init__(self, mail, imap, name):
        self.mail, self.imap, self.name = mail, imap, name

    def __getattr__(self, field):
        if field == "guid":
            value = self.mail.dovecot.mailbox_guid(self.mail.user, self.name)
        elif field == "valid":
            value = self.imap.status(self.name)["uidvalidity"]
        else:
            raise AttributeError(field)
        setattr(self, field, value)
        return value

    def _state(self):
        state = self.imap.status(self.name)
        return {"uidnext": state["uidnext"], "messages": state["messages"]}

    def saved(self, kind, uid, **fields):
        self.imap.ok(f'SELECT "{self.name}"')
        stored = self.imap.fetch(uid)
        return self.mail.message_event(
            kind, self.name, self.valid, uid, self.guid,
            messageSize=stored["size"], modseq=stored["modseq"],
            **{**self._state(), **fields})

    def changed(self, kind, uidset, **fields):
        if uidset.isdigit() and kind != "MessageExpunge":
            fields.setdefault("modseq", self.imap.fetch(uidset)["modseq"])
        return self.mail.mailbox_event(
            kind, self.name, self.valid, self.guid, uidset=uidset,
            **{**self._state(), **fields})

    def itself(self, kind, **fields):
        return self.mail.mailbox_event(kind, self.name, self.valid,
                                       self.guid, **fields)


@pytest.mark.parametrize("namespace", ["", "More"])
def test_a_mailboxs_life(server, mail, namespace):
    separator = server.separator
    prefix = namespace and namespace + separator
    with mail.imap() as imap:
        box = Box(mail, imap, f"{prefix}Work")
        other = Box(mail, imap, f"{prefix}Work{separator}Done")
        imap.ok(f'CREATE "{box.name}"')
        mail.expect(box.itself("MailboxCreate", client=imap))
        imap.ok(f'CREATE "{other.name}"')
        mail.expect(other.itself("MailboxCreate", client=imap))

        imap.append(box.name, SMALL)
        mail.expect(box.saved("MessageAppend", 1, client=imap,
                              _cause="append"))
        imap.append(box.name, LARGE, "\\Flagged $Big")
        [event] = mail.take()
        assert event.data["flagNames"].split() == ["\\Flagged", "$Big"]
        imap.append(box.name, SMALL)
        mail.take()

        imap.ok(f'SELECT "{box.name}"')
        imap.ok("STORE 1:2 +FLAGS (\\Seen)")
        mail.expect(box.changed("MessageRead", "1:2", client=imap,
                                _cause="store"))
        imap.ok("STORE 1 +FLAGS ($Label)")
        mail.expect(box.changed("FlagsSet", "1", flagNames="$Label",
                                client=imap, _cause="store"))

        imap.ok(f'COPY 1:2 "{other.name}"')
        valid, _, uids = imap.copied()
        assert uids == "1:2"
        first = other.saved("MessageAppend", 1, client=imap, _cause="copy",
                            _sourceUri=mailbox_url(mail.user, box.name,
                                                   box.valid, 1),
                            flagNames="\\Seen $Label")
        second = other.saved("MessageAppend", 2, client=imap, _cause="copy",
                             _sourceUri=mailbox_url(mail.user, box.name,
                                                    box.valid, 2),
                             flagNames="\\Flagged \\Seen $Big")
        mail.expect(first, second)

        imap.ok(f'SELECT "{box.name}"')
        imap.ok(f'MOVE 3 "{other.name}"')
        gone = box.changed("MessageExpunge", "3", client=imap, _cause="move")
        append, expunge = mail.expect(
            other.saved("MessageAppend", 3, client=imap, _cause="move",
                        _sourceUri=mailbox_url(mail.user, box.name,
                                               box.valid, 3)), gone)
        assert append.data[TRANSACTION] == expunge.data[TRANSACTION]

        imap.ok(f'SELECT "{box.name}"')
        imap.ok("STORE 1:2 +FLAGS.SILENT (\\Deleted)")
        mail.take()
        imap.ok("UID EXPUNGE 2")
        mail.expect(box.changed("MessageExpunge", "2", client=imap,
                                _cause="expunge"))
        imap.ok("CLOSE")
        mail.expect(box.changed("MessageExpunge", "1", client=imap,
                                _cause="close"))

        guid, valid = other.guid, other.valid
        renamed = Box(mail, imap, f"{prefix}Archive")
        imap.ok(f'RENAME "{other.name}" "{renamed.name}"')
        mail.expect(renamed.itself(
            "MailboxRename", client=imap,
            oldMailboxID=mailbox_url(mail.user, other.name, valid)))
        assert (renamed.guid, renamed.valid) == (guid, valid)
        imap.ok(f'DELETE "{renamed.name}"')
        mail.expect(renamed.itself("MailboxDelete", client=imap))


def test_delivery(mail):
    # Dovecot keeps a message's modseq only once a client has asked for any.
    with mail.imap() as imap:
        imap.ok("SELECT INBOX (CONDSTORE)")
    ports = [mail.deliver(SMALL), mail.deliver(LARGE)]
    with mail.imap() as imap:
        box = Box(mail, imap, "INBOX")
        mail.expect(*[
            box.saved("MessageNew", uid, client=ports[uid - 1],
                      process="lmtp", messages=uid, uidnext=uid + 1,
                      _cause="delivery") for uid in (1, 2)])


def test_modseq_without_condstore_is_a_lower_bound(mail):
    """Messages from before the first client that asked have, for it, the
    mailbox's modseq of that moment."""
    for _ in range(3):
        mail.deliver(SMALL)
    told = [r.data["modseq"] for r in mail.take()]
    with mail.imap() as imap:
        imap.ok("SELECT INBOX")
        kept = [imap.fetch(uid)["modseq"] for uid in (1, 2, 3)]
    assert told == sorted(set(told))
    assert all(a <= b for a, b in zip(told, kept))


def test_pop3(mail):
    for _ in range(2):
        mail.deliver(SMALL)
    mail.take()
    pop3 = mail.dovecot.pop3(mail.user)
    pop3.raw.dele(1)
    pop3.quit()
    [event] = mail.take()
    with mail.imap() as imap:
        assert event.data["messages"] == imap.status("INBOX")["messages"]
    assert (event.type, event.data["uidset"]) == ("MessageExpunge", "1")


def test_force_resync_is_silent(mail):
    mail.deliver(SMALL)
    mail.take()
    mail.dovecot.doveadm("force-resync", "-u", mail.user, "*")
    mail.expect()


def test_purge_and_index_are_silent(mail):
    mail.deliver(SMALL)
    with mail.imap() as imap:
        imap.ok("SELECT INBOX")
        imap.ok("STORE 1 +FLAGS (\\Deleted)")
        imap.ok("EXPUNGE")
    mail.take()
    mail.dovecot.doveadm("purge", "-u", mail.user)
    mail.dovecot.doveadm("index", "-u", mail.user, "INBOX")
    mail.expect()


def test_rename_of_inbox(server, mail):
    """Where the format can rename an INBOX, a new one comes by itself and is
    implied; Maildir++ refuses."""
    with mail.imap() as imap:
        imap.append("INBOX", SMALL)
        box = Box(mail, imap, "INBOX")
        guid, valid = box.guid, box.valid
        mail.take()
        status, _ = imap.command("RENAME INBOX Old")
        if not status.startswith("OK"):
            mail.expect()
            assert server.driver == "maildir"
            return
        mail.expect(mail.mailbox_event(
            "MailboxRename", "Old", valid, guid, client=imap,
            oldMailboxID=mailbox_url(mail.user, "INBOX", valid)))
        assert imap.status("Old")["messages"] == 1
        assert imap.status("INBOX")["messages"] == 0
        mail.expect()


def test_a_mail_that_another_program_takes_away_is_silent(server, mail):
    """What cannot be seen: files that go without Dovecot."""
    if server.driver != "maildir":
        pytest.skip("only a Maildir is changed by other programs")
    mail.deliver(SMALL)
    mail.deliver(SMALL)
    mail.take()
    maildir = server.dovecot.top / "mail" / mail.user / "maildir"
    for one in list(maildir.glob("new/*"))[:1]:
        one.unlink()
    with mail.imap() as imap:
        imap.ok("SELECT INBOX")
        assert imap.status("INBOX")["messages"] == 1
    mail.expect()
