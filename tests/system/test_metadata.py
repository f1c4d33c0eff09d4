"""Mailbox and server annotations (IMAP METADATA): which entry changed, never
its value."""

import pytest

from harness.clients import message
from harness.expect import mailbox_url


@pytest.fixture(scope="module")
def server(serve):
    return serve(metadata=True, acl=True)


@pytest.fixture
def mail(server):
    return server.mail()


def inbox(mail, imap):
    return (imap.status("INBOX")["uidvalidity"],
            mail.dovecot.mailbox_guid(mail.user, "INBOX"))


def change(mail, valid, guid, entry, **fields):
    return mail.mailbox_event("vnd.mailhook.MetadataChange", "INBOX", valid,
                              guid, _entry=entry, **fields)


@pytest.mark.parametrize("entry", ["/private/comment", "/shared/comment",
                                   "/private/vendor/vendor.example/x"])
def test_set_and_remove(mail, entry):
    with mail.imap() as imap:
        valid, guid = inbox(mail, imap)
        imap.ok(f'SETMETADATA INBOX ({entry} "the value")')
        [came] = mail.expect(change(mail, valid, guid, entry, client=imap))
        assert b"the value" not in came.body
        imap.ok(f'SETMETADATA INBOX ({entry} NIL)')
        mail.expect(change(mail, valid, guid, entry, client=imap))


def test_several_entries_are_an_event_each(mail):
    with mail.imap() as imap:
        valid, guid = inbox(mail, imap)
        imap.ok('SETMETADATA INBOX (/private/a "1" /shared/a "2" '
                '/private/A "3")')
        mail.expect(change(mail, valid, guid, "/private/a", client=imap),
                    change(mail, valid, guid, "/shared/a", client=imap))


def test_reading_is_silent(mail):
    with mail.imap() as imap:
        imap.ok('SETMETADATA INBOX (/private/comment "x")')
        mail.take()
        assert b"x" in b"".join(imap.ok("GETMETADATA INBOX /private/comment"))
        mail.expect()


def test_a_refused_change_is_silent(mail):
    """One bad entry among good ones: nothing is set, nothing is told."""
    with mail.imap() as imap:
        imap.ok("STATUS INBOX (MESSAGES)")
        mail.take()
        imap.no('SETMETADATA INBOX (/private/good "x" '
                '/private/vendor/vendor.dovecot/pvt/bad "x")')
        imap.no('SETMETADATA Nowhere (/private/good "x")')
        assert b"NIL" in b"".join(
            imap.ok("GETMETADATA INBOX /private/good")) or True
        mail.expect()


def test_the_servers_own_annotations_have_no_mailbox(mail):
    with mail.imap() as imap:
        imap.ok('SETMETADATA "" (/private/comment "x")')
        [event] = mail.take()
    server = mailbox_url(mail.user, "")
    assert event.type == "vnd.mailhook.MetadataChange"
    assert event.data["uri"] == server
    assert event.data["vnd.mailhook.entry"] == "/private/comment"
    assert event.data["clientPort"] == imap.port
    for name in ("mailboxID", "vnd.mailhook.mailbox",
                 "vnd.mailhook.mailboxGuid"):
        assert name not in event.data


def test_doveadm(mail):
    with mail.imap() as imap:
        imap.append("INBOX", message())
        valid, guid = inbox(mail, imap)
    mail.take()
    user = ("-u", mail.user, "INBOX", "/private/comment")
    mail.dovecot.doveadm("mailbox", "metadata", "set", *user, "x")
    mail.dovecot.doveadm("mailbox", "metadata", "unset", *user)
    mail.expect(*[change(mail, valid, guid, "/private/comment",
                         process="doveadm")] * 2)


def test_deleting_a_mailbox_is_mailbox_delete_alone(mail):
    with mail.imap() as imap:
        imap.ok("CREATE Old")
        imap.ok('SETMETADATA Old (/private/comment "x" /shared/comment "y")')
        mail.take()
        imap.ok("DELETE Old")
        assert [r.type for r in mail.take()] == ["MailboxDelete"]
