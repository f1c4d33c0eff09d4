"""Messages that come and go: what each operation publishes, field by field,
against what IMAP says of the same mailbox."""

import imaplib

import pytest

from harness.clients import message
from harness.expect import TRANSACTION, mailbox_url

SMALL = message("Small", "One line.\n")
LARGE = message("Large", "A line of some length.\n" * 2000)


def inbox(mail):
    return mail.dovecot.mailbox_guid(mail.user, "INBOX")


def test_lmtp_delivery_is_message_new(mail):
    port = mail.deliver(SMALL)
    with mail.imap() as imap:
        imap.ok("SELECT INBOX")
        state, stored = imap.status("INBOX"), imap.fetch(1)
    mail.expect(mail.message_event(
        "MessageNew", "INBOX", state["uidvalidity"], 1, inbox(mail),
        client=port, process="lmtp", messageSize=stored["size"],
        modseq=stored["modseq"], uidnext=state["uidnext"],
        messages=state["messages"], _cause="delivery"))


def test_two_recipients_get_an_event_each(mail, other):
    port = mail.deliver(SMALL, other.user)
    for one in (mail, other):
        with one.imap() as imap:
            imap.ok("SELECT INBOX")
            state, stored = imap.status("INBOX"), imap.fetch(1)
        # The second one's copy comes from the first one's mailbox, which
        # is nobody's business.
        one.expect(one.message_event(
            "MessageNew", "INBOX", state["uidvalidity"], 1, inbox(one),
            client=port, process="lmtp", messageSize=stored["size"],
            modseq=stored["modseq"], uidnext=2, messages=1,
            _cause="delivery"))


def test_append(mail):
    with mail.imap() as imap:
        valid, uid = imap.append("INBOX", LARGE)
        imap.ok("SELECT INBOX")
        state, stored = imap.status("INBOX"), imap.fetch(1)
        assert uid == "1"
        mail.expect(mail.message_event(
            "MessageAppend", "INBOX", valid, 1, inbox(mail), client=imap,
            messageSize=stored["size"], modseq=stored["modseq"],
            uidnext=state["uidnext"], messages=1, _cause="append"))
    assert stored["size"] == len(LARGE)


def test_append_with_flags_carries_them(mail):
    with mail.imap() as imap:
        valid, _ = imap.append("INBOX", SMALL, "\\Seen \\Flagged $Label")
        [event] = mail.take()
    assert event.type == "MessageAppend"
    assert sorted(event.data["flagNames"].split(" ")) == \
        ["$Label", "\\Flagged", "\\Seen"]


def test_multiappend_is_one_event_per_message_in_uid_order(mail):
    with mail.imap() as imap:
        imap.ok("APPEND INBOX", SMALL, b"", LARGE, b"", SMALL)
        valid, uids = imap.appended()
        assert uids == "1:3"
        imap.ok("SELECT INBOX")
        modseq = imap.fetch(1)["modseq"]
        guid = inbox(mail)
        sizes = [imap.fetch(uid)["size"] for uid in (1, 2, 3)]
        mail.expect(*[
            mail.message_event(
                "MessageAppend", "INBOX", valid, uid, guid, client=imap,
                messageSize=sizes[uid - 1], modseq=modseq, uidnext=4,
                messages=3, _cause="append")
            for uid in (1, 2, 3)])


def test_copy_names_where_it_came_from(mail):
    with mail.imap() as imap:
        valid, _ = imap.append("INBOX", SMALL, "\\Seen")
        imap.append("INBOX", LARGE)
        imap.ok("CREATE Archive")
        mail.take()
        imap.ok("SELECT INBOX")
        imap.ok("UID COPY 1:2 Archive")
        target, _, uids = imap.copied()
        assert uids == "1:2"
        imap.ok("SELECT Archive")
        one, two = imap.fetch(1), imap.fetch(2)
        guid = mail.dovecot.mailbox_guid(mail.user, "Archive")
        mail.expect(*[
            mail.message_event(
                "MessageAppend", "Archive", target, uid, guid, client=imap,
                messageSize=stored["size"], modseq=stored["modseq"],
                uidnext=3, messages=2, flagNames=flags, _cause="copy",
                _sourceUri=mailbox_url(mail.user, "INBOX", valid, uid))
            for uid, stored, flags in ((1, one, "\\Seen"), (2, two, None))])


def test_move_is_append_then_expunge_of_one_transaction(mail):
    with mail.imap() as imap:
        valid, _ = imap.append("INBOX", SMALL)
        imap.append("INBOX", LARGE)
        imap.ok("CREATE Archive")
        mail.take()
        imap.ok("SELECT INBOX")
        imap.ok("MOVE 2 Archive")
        target, source_uids, uids = imap.copied()
        assert (source_uids, uids) == ("2", "1")
        imap.ok("SELECT Archive")
        stored = imap.fetch(1)
        append, expunge = mail.expect(
            mail.message_event(
                "MessageAppend", "Archive", target, 1,
                mail.dovecot.mailbox_guid(mail.user, "Archive"), client=imap,
                messageSize=stored["size"], modseq=stored["modseq"],
                uidnext=2, messages=1, _cause="move",
                _sourceUri=mailbox_url(mail.user, "INBOX", valid, 2)),
            mail.mailbox_event(
                "MessageExpunge", "INBOX", valid, inbox(mail), client=imap,
                uidset="2", uidnext=3, messages=1, _cause="move"))
        assert append.data[TRANSACTION] == expunge.data[TRANSACTION]


def test_expunge_is_one_event_with_a_set(mail):
    with mail.imap() as imap:
        for _ in range(5):
            valid, _ = imap.append("INBOX", SMALL)
        imap.ok("SELECT INBOX")
        imap.ok("STORE 1:3,5 +FLAGS (\\Deleted)")
        mail.take()
        imap.ok("EXPUNGE")
        assert imap.status("INBOX")["messages"] == 1
        mail.expect(mail.mailbox_event(
            "MessageExpunge", "INBOX", valid, inbox(mail), client=imap,
            uidset="1:3,5", uidnext=6, messages=1, _cause="expunge"))


def test_uid_expunge_names_only_what_went(mail):
    with mail.imap() as imap:
        for _ in range(3):
            imap.append("INBOX", SMALL, "\\Deleted")
        imap.ok("SELECT INBOX")
        mail.take()
        imap.ok("UID EXPUNGE 2")
        [event] = mail.take()
        assert (event.type, event.data["uidset"], event.data["messages"]) == \
            ("MessageExpunge", "2", 2)


def test_close_expunges(mail):
    with mail.imap() as imap:
        valid, _ = imap.append("INBOX", SMALL, "\\Deleted")
        imap.append("INBOX", SMALL)
        imap.ok("SELECT INBOX")
        mail.take()
        imap.ok("CLOSE")
        mail.expect(mail.mailbox_event(
            "MessageExpunge", "INBOX", valid, inbox(mail), client=imap,
            uidset="1", uidnext=3, messages=1, _cause="close"))


def test_expunge_of_nothing_is_silent(mail):
    with mail.imap() as imap:
        imap.append("INBOX", SMALL)
        imap.ok("SELECT INBOX")
        mail.take()
        imap.ok("EXPUNGE")
        imap.ok("CLOSE")
        mail.expect()


def test_failed_commands_are_silent(mail):
    with mail.imap() as imap:
        imap.append("INBOX", SMALL)
        imap.ok("SELECT INBOX")
        mail.take()
        imap.no("COPY 1 Nowhere")
        imap.no("MOVE 1 Nowhere")
        imap.no("COPY 99 INBOX")
        imap.no("APPEND Nowhere", SMALL)
        imap.no("DELETE Nowhere")
        imap.no("RENAME Nowhere Elsewhere")
        imap.no("SUBSCRIBE Nowhere")
        imap.no("CREATE INBOX")
        mail.expect()


def test_read_only_mailbox_is_silent(mail):
    with mail.imap() as imap:
        imap.append("INBOX", SMALL, "\\Deleted")
        mail.take()
        imap.ok("EXAMINE INBOX")
        imap.command("STORE 1 +FLAGS (\\Seen)")
        imap.ok("FETCH 1 BODY[]")
        imap.ok("CLOSE")
        mail.expect()


def test_pop3_retrieve_and_delete(mail):
    for number in range(3):
        mail.deliver(message(f"Number {number}"))
    mail.take()
    pop3 = mail.dovecot.pop3(mail.user)
    assert pop3.raw.stat()[0] == 3
    pop3.raw.retr(1)
    pop3.raw.dele(2)
    pop3.quit()
    with mail.imap() as imap:
        state = imap.status("INBOX")
        imap.ok("SELECT INBOX")
        stored = imap.fetch(1)
    assert stored["flags"] == ["\\Seen"]
    guid = inbox(mail)
    # POP3 knows no read messages (RFC 5423, 4.2), so no MessageRead.
    flags, expunge = sorted(mail.take(), key=lambda r: r.type)
    assert (flags.type, expunge.type) == ("FlagsSet", "MessageExpunge")
    from harness.expect import settled
    assert settled(flags) == mail.mailbox_event(
        "FlagsSet", "INBOX", state["uidvalidity"], guid, client=pop3,
        process="pop3", uidset="1", flagNames="\\Seen", uidnext=4,
        messages=flags.data["messages"], modseq=flags.data.get("modseq"),
        _cause="pop3")[1]
    assert settled(expunge) == mail.mailbox_event(
        "MessageExpunge", "INBOX", state["uidvalidity"], guid, client=pop3,
        process="pop3", uidset="2", uidnext=4, messages=2,
        _cause="pop3")[1]


def test_pop3_without_quit_deletes_nothing(mail):
    mail.deliver(SMALL)
    mail.take()
    pop3 = mail.dovecot.pop3(mail.user)
    pop3.raw.dele(1)
    pop3.drop()
    assert [r.type for r in mail.take()] in ([], ["FlagsSet"])


def test_doveadm(mail):
    user = ("-u", mail.user)
    doveadm = mail.dovecot.doveadm
    doveadm("save", *user, "-m", "INBOX", input=SMALL.decode())
    with mail.imap() as imap:
        imap.ok("SELECT INBOX")
        state, stored = imap.status("INBOX"), imap.fetch(1)
    guid, valid = inbox(mail), state["uidvalidity"]
    common = {"process": "doveadm", "uidnext": 2}
    mail.expect(mail.message_event(
        "MessageAppend", "INBOX", valid, 1, guid, messages=1,
        messageSize=stored["size"], modseq=stored["modseq"],
        _cause="append", **common))

    doveadm("flags", "add", *user, "\\Flagged", "mailbox", "INBOX", "all")
    with mail.imap() as imap:
        imap.ok("SELECT INBOX")
        modseq = imap.fetch(1)["modseq"]
    [event] = mail.take()
    assert event.type == "FlagsSet"
    assert (event.data["service"], event.data["uidset"],
            event.data["flagNames"], event.data["modseq"]) == \
        ("admincli", "1", "\\Flagged", modseq)

    doveadm("expunge", *user, "mailbox", "INBOX", "all")
    mail.expect(mail.mailbox_event(
        "MessageExpunge", "INBOX", valid, guid, uidset="1", messages=0,
        _cause="expunge", **common))


@pytest.mark.parametrize("name, uri", [
    ("a b", "a%20b"),
    ("50%", "50%25"),
    ("R&D", "R&D"),
    ("Entwürfe", "Entw%C3%BCrfe"),
    ("日本", "%E6%97%A5%E6%9C%AC"),
    ("semi;colon", "semi%3Bcolon"),
    ('quo"te', "quo%22te"),
    ("a/b/c", "a/b/c"),
])
def test_odd_mailbox_names(mail, name, uri):
    from harness.utf7 import encode
    wire = encode(name).replace("\\", "\\\\").replace('"', '\\"')
    with mail.imap() as imap:
        imap.ok(f'CREATE "{wire}"')
        valid, _ = imap.append(wire, SMALL)
    create, append = mail.take()
    server = mail.user.replace("@", "%40") + "@mail.example.org"
    assert create.data["uri"] == \
        f"imap://{server}/{uri};UIDVALIDITY={valid}"
    assert append.data["uri"] == \
        f"imap://{server}/{uri};UIDVALIDITY={valid}/;UID=1"
    for event in (create, append):
        assert event.data["vnd.mailhook.mailbox"] == name


@pytest.mark.parametrize("name", ["+", "="])
def test_user_names_that_dovecot_refuses(dovecot, name):
    """By auth_username_chars; test_neighbours.py has the others."""
    with pytest.raises(imaplib.IMAP4.error, match="AUTHENTICATIONFAILED"):
        dovecot.imap(f"a{name}b@example.org")


def test_sessions_and_ports_are_each_connections_own(mail):
    with mail.imap() as one, mail.imap() as two:
        one.append("INBOX", SMALL)
        two.append("INBOX", SMALL)
        first, second = mail.take()
        assert first.data["clientPort"] == one.port
        assert second.data["clientPort"] == two.port
        assert first.data["vnd.mailhook.session"] != \
            second.data["vnd.mailhook.session"]
        assert first.data["pid"] != second.data["pid"]
        two.append("INBOX", SMALL)
        [third] = mail.take()
        for name in ("vnd.mailhook.session", "pid", "clientPort"):
            assert third.data[name] == second.data[name]


def test_counts_follow_imap_through_a_session(mail):
    """uidnext, messages and modseq of every event against STATUS after the
    command that caused it."""
    with mail.imap() as imap:
        seen = []

        def step(line, *literals):
            imap.ok(line, *literals)
            state = imap.status("INBOX")
            for event in mail.take():
                seen.append(event.type)
                data = event.data
                assert data["uidnext"] == state["uidnext"], line
                assert data["messages"] == state["messages"], line
                if "modseq" in data:
                    assert data["modseq"] <= state["highestmodseq"], line

        imap.ok("SELECT INBOX")
        step("APPEND INBOX", SMALL)
        step("APPEND INBOX", LARGE)
        step("APPEND INBOX (\\Deleted)", SMALL)
        step("STORE 1:2 +FLAGS ($One)")
        step("EXPUNGE")
        step("APPEND INBOX", SMALL)
        step("STORE 1 +FLAGS (\\Deleted)")
        step("EXPUNGE")
    assert seen == ["MessageAppend"] * 3 + [
        "FlagsSet", "MessageExpunge", "MessageAppend", "MessageTrash",
        "MessageExpunge"]
