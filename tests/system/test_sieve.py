"""Deliveries that Sieve decides, and scripts that IMAP runs (imapsieve):
a message kept is one event with the flags the script gave it; what is
discarded or refused is none."""

import smtplib

import pytest

from harness.clients import message
from harness.dovecot import let_in
from harness.expect import mailbox_url

REQUIRE = 'require ["fileinto", "copy", "mailbox", "imap4flags", "reject", ' \
    '"vacation"];\n'

ON_SPAM = """\
require ["imap4flags"];
addflag "$Sieved";
"""
ON_SORT = """\
require ["fileinto"];
fileinto "Sorted";
"""


@pytest.fixture(scope="module")
def server(serve, tmp_path_factory):
    # Bounces, replies and redirected mail go nowhere, successfully.
    sendmail = tmp_path_factory.mktemp("sendmail") / "sendmail"
    sendmail.write_text("#!/bin/sh\nexec cat >/dev/null\n")
    let_in(sendmail)
    return serve(sieve=True, imapsieve={"Spam": ON_SPAM, "Sort": ON_SORT},
                 extra=f"sendmail_path = {sendmail}\n")


@pytest.fixture
def mail(server):
    return server.mail()


def place(mail, name="INBOX"):
    with mail.imap() as imap:
        imap.ok(f"SELECT {name}")
        state = imap.status(name)
        stored = imap.fetch(state["uidnext"] - 1)
    return (state["uidvalidity"], state["uidnext"] - 1,
            mail.dovecot.mailbox_guid(mail.user, name), {
                "messageSize": stored["size"], "modseq": stored["modseq"],
                "uidnext": state["uidnext"], "messages": state["messages"]})


def new(mail, port, name="INBOX", **fields):
    valid, uid, guid, state = place(mail, name)
    return mail.message_event(
        "MessageNew", name, valid, uid, guid, client=port, process="lmtp",
        **{**state, "_cause": "sieve", **fields})


def run(mail, script, **options):
    mail.dovecot.sieve_script(mail.user, REQUIRE + script)
    return mail.deliver(message(**options))


def test_keep(mail):
    port = run(mail, "keep;")
    mail.expect(new(mail, port))


def test_implicit_keep(mail):
    port = run(mail, "# nothing")
    [event] = mail.take()
    assert event.type == "MessageNew"
    assert event.data["clientPort"] == port
    assert event.data["vnd.mailhook.cause"] in ("sieve", "delivery")


def test_fileinto(mail):
    with mail.imap() as imap:
        imap.ok("CREATE Work")
    mail.take()
    port = run(mail, 'fileinto "Work";')
    mail.expect(new(mail, port, "Work"))


def test_fileinto_creates_its_mailbox_first(mail):
    run(mail, 'fileinto :create "New";')
    create, deliver = mail.take()
    assert (create.type, create.data["vnd.mailhook.mailbox"],
            create.data["service"]) == ("MailboxCreate", "New", "lmtp")
    assert (deliver.type, deliver.data["vnd.mailhook.mailbox"]) == \
        ("MessageNew", "New")


def test_fileinto_copy_is_two_messages(mail):
    with mail.imap() as imap:
        imap.ok("CREATE Work")
    mail.take()
    port = run(mail, 'fileinto :copy "Work"; keep;')
    came = mail.take()
    assert sorted(r.data["vnd.mailhook.mailbox"] for r in came) == \
        ["INBOX", "Work"]
    for event in came:
        assert event.type == "MessageNew"
        assert event.data["clientPort"] == port
        assert "vnd.mailhook.sourceUri" not in event.data


def test_discard_is_nothing(mail):
    run(mail, "discard;")
    mail.expect()


def test_reject_is_nothing(mail):
    mail.dovecot.sieve_script(mail.user, REQUIRE + 'reject "not you";')
    try:
        mail.deliver(message())
    except (AssertionError, smtplib.SMTPException):
        pass  # refused at once, or bounced
    mail.expect()
    with mail.imap() as imap:
        assert imap.status("INBOX")["messages"] == 0


@pytest.mark.parametrize("script, names", [
    ('addflag ["\\\\Flagged", "$Important"]; keep;',
     ["$Important", "\\Flagged"]),
    ('setflag "\\\\Seen"; keep;', ["\\Seen"]),
    ('keep :flags "\\\\Answered";', ["\\Answered"]),
    ('addflag "$Gone"; removeflag "$Gone"; keep;', []),
])
def test_flags_belong_to_the_message(mail, script, names):
    """No flag event: the message is born with them."""
    run(mail, script)
    [event] = mail.take()
    assert event.type == "MessageNew"
    assert sorted(event.data.get("flagNames", "").split()) == names


def test_vacation_and_keep(mail):
    run(mail, 'vacation "away"; keep;')
    assert [r.type for r in mail.take()] == ["MessageNew"]


def test_redirect_keeps_nothing(mail):
    run(mail, 'redirect "else@example.net";')
    mail.expect()
    with mail.imap() as imap:
        assert imap.status("INBOX")["messages"] == 0


def test_redirect_copy_keeps(mail):
    run(mail, 'redirect :copy "other@example.net";')
    assert [r.type for r in mail.take()] == ["MessageNew"]


def test_a_broken_script_keeps(mail):
    run(mail, "this is no script")
    [event] = mail.take()
    assert event.type == "MessageNew"
    assert event.data["vnd.mailhook.mailbox"] == "INBOX"


def test_failed_fileinto_falls_back_to_inbox(mail):
    """fileinto a mailbox that is not there: delivered to INBOX, once."""
    run(mail, 'fileinto "Not/There";')
    came = mail.take()
    with mail.imap() as imap:
        assert imap.status("INBOX")["messages"] == 1
    assert [(r.type, r.data["vnd.mailhook.mailbox"]) for r in came] == \
        [("MessageNew", "INBOX")]


# -- imapsieve

def test_imapsieve_flags_what_was_appended(mail):
    """The script sees a message that is there: an append, then its flag; or
    the message with the flag. Never a delivery."""
    with mail.imap() as imap:
        imap.ok("CREATE Spam")
        mail.take()
        imap.append("Spam", message())
        came = mail.take()
        imap.ok("SELECT Spam")
        assert "$Sieved" in imap.fetch(1)["flags"]
    assert [(r.type, r.data["uidset"] if "uidset" in r.data else "1",
             r.data.get("flagNames")) for r in came] == [
        ("MessageAppend", "1", None), ("FlagsSet", "1", "$Sieved")]
    for event in came:
        assert event.data["service"] == "imap"


def test_imapsieve_files_what_was_copied(mail):
    """fileinto in the script: the message leaves for another mailbox."""
    with mail.imap() as imap:
        imap.ok("CREATE Sort")
        imap.ok("CREATE Sorted")
        imap.append("INBOX", message())
        imap.ok("SELECT INBOX")
        mail.take()
        imap.ok("COPY 1 Sort")
        came = mail.take()
        assert imap.status("Sorted")["messages"] == 1
        left = imap.status("Sort")["messages"]
        valid = imap.status("INBOX")["uidvalidity"]
    assert left == 1
    # What the script files elsewhere it leaves behind as \\Deleted.
    assert [(r.type, r.data["vnd.mailhook.mailbox"]) for r in came] == [
        ("MessageAppend", "Sort"), ("MessageAppend", "Sorted"),
        ("MessageTrash", "Sort")]
    assert came[0].data["vnd.mailhook.sourceUri"] == \
        mailbox_url(mail.user, "INBOX", valid, 1)
    assert all(r.data["service"] == "imap" for r in came)
