"""Access control: a user who gains or loses sight of a mailbox (RFC 5423,
section 4.4), and every change of a mailbox's ACL."""

import pytest

from harness.clients import message
from harness.dialect import Namespace
from harness.expect import SESSION, mailbox_url, settled


@pytest.fixture(scope="module")
def server(serve):
    return serve(acl=True, namespaces=[
        Namespace("public", type="public", prefix="Public/",
                  path="{mail}/public", subscriptions=False),
        Namespace("shared", type="shared", prefix="shared/{owner}/",
                  path="{mail}/{owner}/sdbox", list="children",
                  subscriptions=False)])


@pytest.fixture
def mail(server):
    return server.mail()


@pytest.fixture
def box(mail):
    """The owner's IMAP session and a mailbox that nobody else may see."""
    with mail.imap() as imap:
        imap.ok("CREATE Plans")
        imap.valid = imap.status("Plans")["uidvalidity"]
        imap.guid = mail.dovecot.mailbox_guid(mail.user, "Plans")
        mail.take()
        yield imap


def acl_change(mail, box, identifier, rights, client=None, **fields):
    return mail.mailbox_event(
        "vnd.mailhook.AclChange", "Plans", box.valid, box.guid,
        client=client or box, _aclIdentifier=identifier, _aclRights=rights,
        **fields)


def access(mail, box, kind, user, client=None, **fields):
    """MailboxCreate or MailboxDelete of one who is not the owner."""
    return mail.mailbox_event(
        kind, "Plans", box.valid, box.guid, client=client or box, user=user,
        admin=mail.user, _owner=mail.user, _cause="acl",
        _aclIdentifier=f"user={user}", **fields)


def test_user_gains_and_loses_sight(mail, box):
    box.ok("SETACL Plans friend lr")
    mail.expect(acl_change(mail, box, "user=friend", "lr"),
                access(mail, box, "MailboxCreate", "friend"))
    # Seeing is what counts; other rights change the ACL alone.
    box.ok("SETACL Plans friend +sw")
    mail.expect(acl_change(mail, box, "user=friend", "lrws"))
    box.ok("SETACL Plans friend -l")
    mail.expect(acl_change(mail, box, "user=friend", "rws"),
                access(mail, box, "MailboxDelete", "friend"))
    box.ok("SETACL Plans friend l")
    mail.expect(acl_change(mail, box, "user=friend", "l"),
                access(mail, box, "MailboxCreate", "friend"))
    box.ok("DELETEACL Plans friend")
    mail.expect(acl_change(mail, box, "user=friend", None),
                access(mail, box, "MailboxDelete", "friend"))


def test_no_change_no_event(mail, box):
    box.ok("SETACL Plans friend lr")
    mail.take()
    box.ok("SETACL Plans friend lr")
    box.ok("SETACL Plans friend +r")
    box.ok("SETACL Plans friend -w")
    box.ok("DELETEACL Plans stranger")
    box.ok("GETACL Plans")
    box.ok("MYRIGHTS Plans")
    mail.expect()


def test_a_right_without_lookup_shows_nothing(mail, box):
    box.ok("SETACL Plans friend p")
    mail.expect(acl_change(mail, box, "user=friend", "p"))
    box.ok("DELETEACL Plans friend")
    mail.expect(acl_change(mail, box, "user=friend", None))


@pytest.mark.parametrize("written, identifier", [
    ("$team", "group=team"), ("!$staff", "group-override=staff"),
    ("owner", "owner")])
def test_others_than_users_change_the_acl_alone(mail, box, written,
                                                identifier):
    box.ok(f"SETACL Plans {written} lra")
    mail.expect(acl_change(mail, box, identifier, "lra"))
    box.ok(f"DELETEACL Plans {written}")
    mail.expect(acl_change(mail, box, identifier, None))


def test_negative_rights(mail, box):
    box.ok("SETACL Plans friend lr")
    mail.take()
    # Still listed, no longer seen.
    box.ok("SETACL Plans -friend l")
    mail.expect(acl_change(mail, box, "-user=friend", "l"),
                access(mail, box, "MailboxDelete", "friend"))
    box.ok("DELETEACL Plans -friend")
    mail.expect(acl_change(mail, box, "-user=friend", None),
                access(mail, box, "MailboxCreate", "friend"))


def test_the_owners_own_access_is_no_creation(mail, box):
    box.ok(f'SETACL Plans "{mail.user}" lra')
    mail.expect(acl_change(mail, box, f"user={mail.user}", "lra"))


def test_refused_changes_are_silent(mail, box):
    box.no("SETACL Plans friend z")
    box.no("SETACL Nowhere friend lr")
    with mail.dovecot.imap("stranger@example.org") as stranger:
        stranger.no(f'SETACL "shared/{mail.user}/Plans" friend lr')
    mail.expect()


def test_doveadm(mail, box):
    user = ("-u", mail.user, "--", "Plans")
    doveadm = mail.dovecot.doveadm
    common = {"process": "doveadm"}

    def change(*args):
        return mail.mailbox_event(
            "vnd.mailhook.AclChange", "Plans", box.valid, box.guid,
            _aclIdentifier=args[0], _aclRights=args[1], **common)

    def sight(kind):
        return mail.mailbox_event(
            kind, "Plans", box.valid, box.guid, user="friend",
            admin=mail.user, _owner=mail.user, _cause="acl",
            _aclIdentifier="user=friend", **common)

    doveadm("acl", "set", *user, "user=friend", "lookup", "read")
    mail.expect(change("user=friend", "lr"), sight("MailboxCreate"))
    doveadm("acl", "add", *user, "user=friend", "write")
    mail.expect(change("user=friend", "lrw"))
    doveadm("acl", "remove", *user, "user=friend", "lookup")
    mail.expect(change("user=friend", "rw"), sight("MailboxDelete"))
    # Both signs in one change.
    doveadm("acl", "set", *user, "anyone", "read", "-write")
    mail.expect(change("anyone", "r"), change("-anyone", "w"))
    doveadm("acl", "set", *user, "anyone", "read", "-write")
    doveadm("acl", "get", *user)
    doveadm("acl", "recalc", "-u", mail.user)
    mail.expect()
    doveadm("acl", "delete", *user, "anyone")
    mail.expect(change("anyone", None), change("-anyone", None))


def test_one_with_admin_rights_acts_on_the_owners_mailbox(server, mail, box):
    deputy = server.mail()
    box.ok(f'SETACL Plans "{deputy.user}" lra')
    mail.take()
    with deputy.imap() as imap:
        imap.ok(f'SETACL "shared/{mail.user}/Plans" friend lr')
        change, create = mail.take()
        port = imap.port
    data = settled(change)
    assert (change.type, data["user"], data["vnd.mailhook.owner"],
            data["vnd.mailhook.aclIdentifier"]) == \
        ("vnd.mailhook.AclChange", deputy.user, mail.user, "user=friend")
    assert data["mailboxID"] == mailbox_url(mail.user, "Plans", box.valid)
    assert data["clientPort"] == port
    data = settled(create)
    assert (create.type, data["user"], data["admin"],
            data["vnd.mailhook.owner"], data["mailboxID"]) == \
        ("MailboxCreate", "friend", deputy.user, mail.user,
         mailbox_url(mail.user, "Plans", box.valid))


def test_a_child_inherits_its_acl_silently(mail, box):
    box.ok("SETACL Plans friend lr")
    mail.take()
    box.ok("CREATE Plans/Child")
    [create] = mail.take()
    assert create.type == "MailboxCreate"
    assert create.data["user"] == mail.user
    assert b"friend" in b"".join(box.ok("GETACL Plans/Child"))


def test_deleting_a_mailbox_is_mailbox_delete_alone(mail, box):
    box.ok("SETACL Plans friend lr")
    mail.take()
    box.ok("DELETE Plans")
    assert [r.type for r in mail.take()] == ["MailboxDelete"]


def test_mail_in_a_shared_mailbox_is_the_owners(server, mail, box):
    """The actor is the user; URI, lane and name are the owner's."""
    guest = server.mail()
    box.append("Plans", message())
    box.ok(f'SETACL Plans "{guest.user}" lrswi')
    mail.take()
    with guest.imap() as imap:
        imap.ok(f'SELECT "shared/{mail.user}/Plans"')
        imap.ok("STORE 1 +FLAGS ($Seen-by-guest)")
        [flags] = mail.take()
        data = settled(flags)
        assert (flags.type, data["user"], data["vnd.mailhook.owner"],
                data["vnd.mailhook.mailbox"], data["mailboxID"]) == \
            ("FlagsSet", guest.user, mail.user, "Plans",
             mailbox_url(mail.user, "Plans", box.valid))
        # Without the right, nothing is set and nothing is told.
        imap.command("STORE 1 +FLAGS (\\Deleted)")
        imap.no(f'CREATE "shared/{mail.user}/Plans/Sub"')
        mail.expect()
        imap.ok("COPY 1 INBOX")
        [copy] = guest.take()
    assert copy.data["vnd.mailhook.sourceUri"] == \
        mailbox_url(mail.user, "Plans", box.valid, 1)
    assert SESSION in copy.data
