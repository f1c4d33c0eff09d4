"""Mailboxes: created, deleted, renamed, subscribed."""

from harness.clients import message
from harness.expect import mailbox_url


def facts(mail, imap, name):
    return (imap.status(name)["uidvalidity"],
            mail.dovecot.mailbox_guid(mail.user, name))


def test_create(mail):
    with mail.imap() as imap:
        imap.ok("CREATE Projects")
        valid, guid = facts(mail, imap, "Projects")
        mail.expect(mail.mailbox_event(
            "MailboxCreate", "Projects", valid, guid, client=imap))


def test_create_implies_its_parents(mail):
    with mail.imap() as imap:
        imap.ok("CREATE a/b/c")
        valid, guid = facts(mail, imap, "a/b/c")
        mail.expect(mail.mailbox_event(
            "MailboxCreate", "a/b/c", valid, guid, client=imap))


def test_delete_is_mailbox_delete_alone(mail):
    with mail.imap() as imap:
        imap.ok("CREATE Old")
        imap.append("Old", message())
        valid, guid = facts(mail, imap, "Old")
        mail.take()
        imap.ok("DELETE Old")
        mail.expect(mail.mailbox_event(
            "MailboxDelete", "Old", valid, guid, client=imap))


def test_delete_of_a_parent_leaves_the_children(mail):
    with mail.imap() as imap:
        imap.ok("CREATE top")
        imap.ok("CREATE top/child")
        valid, guid = facts(mail, imap, "top")
        mail.take()
        imap.ok("DELETE top")
        mail.expect(mail.mailbox_event(
            "MailboxDelete", "top", valid, guid, client=imap))
        assert imap.status("top/child")["messages"] == 0


def test_rename_takes_the_children_along(mail):
    with mail.imap() as imap:
        imap.ok("CREATE one")
        imap.ok("CREATE one/child")
        valid, guid = facts(mail, imap, "one")
        mail.take()
        imap.ok("RENAME one two")
        mail.expect(mail.mailbox_event(
            "MailboxRename", "two", valid, guid, client=imap,
            oldMailboxID=mailbox_url(mail.user, "one", valid)))
        assert imap.status("two/child")["messages"] == 0


def test_rename_below_a_new_parent_implies_it(mail):
    with mail.imap() as imap:
        imap.ok("CREATE leaf")
        mail.take()
        imap.ok("RENAME leaf new/parent/leaf")
        [event] = mail.take()
    assert event.type == "MailboxRename"
    assert event.data["vnd.mailhook.mailbox"] == "new/parent/leaf"


def test_subscribe_and_unsubscribe(mail):
    with mail.imap() as imap:
        imap.ok("CREATE News")
        mail.take()
        valid, guid = facts(mail, imap, "News")
        imap.ok("SUBSCRIBE News")
        imap.ok("SUBSCRIBE News")
        imap.ok("UNSUBSCRIBE News")
        imap.ok("UNSUBSCRIBE News")
        events = mail.take()
        # Subscribing is about a name, so Dovecot need not know more of it.
        assert [r.type for r in events] == \
            ["MailboxSubscribe", "MailboxUnSubscribe"]
        for event in events:
            data = event.data
            assert data["mailboxID"] in (
                mailbox_url(mail.user, "News"),
                mailbox_url(mail.user, "News", valid))
            assert data["uri"] == data["mailboxID"]
            assert data["user"] == mail.user
            assert data["clientPort"] == imap.port
            assert data["service"] == "imap"
            assert data["vnd.mailhook.mailbox"] == "News"
            assert data.get("vnd.mailhook.mailboxGuid") in (None, guid)


def test_an_autocreated_inbox_is_silent(mail):
    with mail.imap() as imap:
        imap.ok("SELECT INBOX")
        mail.expect()


def test_doveadm_mailbox(mail):
    user = ("-u", mail.user)
    mail.dovecot.doveadm("mailbox", "create", *user, "Admin")
    mail.dovecot.doveadm("mailbox", "rename", *user, "Admin", "Office")
    mail.dovecot.doveadm("mailbox", "delete", *user, "Office")
    events = mail.take()
    assert [(r.type, r.data["vnd.mailhook.mailbox"]) for r in events] == [
        ("MailboxCreate", "Admin"), ("MailboxRename", "Office"),
        ("MailboxDelete", "Office")]
    for event in events:
        assert event.data["service"] == "admincli"
        assert "clientIP" not in event.data
