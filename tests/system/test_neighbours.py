"""mailhook beside Dovecot's other plugins and tools: one event for each change,
whichever way it comes, and none for what is no change."""

import os
import shutil
import subprocess

import pytest

from harness.clients import Imap, message
from harness.dialect import DIALECT, SERIES, Namespace, QuotaRoot, User
from harness.dovecot import MAIL_UID, let_in
from harness.expect import TRANSACTION, Mail, mailbox_url

SMALL = message("Small", "One line.\n")


def told(came):
    """Type, mailbox, uid or uidset of each."""
    def uids(data):
        if "uidset" in data:
            return data["uidset"]
        return data["uri"].partition("/;UID=")[2] or None
    return [(r.type, r.data.get("vnd.mailhook.mailbox"), uids(r.data))
            for r in came]


def causes(came):
    return {r.data.get("vnd.mailhook.cause") for r in came}


# -- virtual mailboxes

@pytest.fixture(scope="module")
def server(serve):
    return serve(mail_plugins={"": ("virtual",)}, namespaces=[
        Namespace("virtual", prefix="Virtual/", driver="virtual",
                  path="{home}/virtual", subscriptions=False)],
        extra=DIALECT.autoexpunge("Few", 1) +
        # Every character in a user's name; XCLIENT from here.
        "auth_username_chars =\nlogin_trusted_networks = 127.0.0.1\n",
        settings={"expire_services": '{"doveadm"}'})


@pytest.fixture
def mail(server):
    return server.mail()


@pytest.fixture
def virtual(mail):
    """An IMAP session in Virtual/All, which shows INBOX (2 messages) and
    Work (1)."""
    home = mail.dovecot.top / "mail" / mail.user
    directory = home / "virtual" / "All"
    directory.mkdir(parents=True)
    (directory / "dovecot-virtual").write_text("INBOX\nWork\n  all\n")
    for path in (home, home / "virtual", directory):
        os.chown(path, MAIL_UID, MAIL_UID)
    with mail.imap() as imap:
        imap.ok("CREATE Work")
        imap.append("INBOX", SMALL)
        imap.append("INBOX", SMALL)
        imap.append("Work", SMALL)
        imap.ok("SELECT Virtual/All")
        assert imap.status("Virtual/All")["messages"] == 3
        mail.take()
        yield imap


def test_store_through_a_virtual_mailbox(mail, virtual):
    """Events are the backend mailboxes' own, once each."""
    virtual.ok("STORE 1:3 +FLAGS ($Label)")
    came = mail.take()
    assert sorted(told(came)) == [("FlagsSet", "INBOX", "1:2"),
                                  ("FlagsSet", "Work", "1")]
    with mail.imap() as imap:
        for event in came:
            name = event.data["vnd.mailhook.mailbox"]
            assert event.data["mailboxID"] == mailbox_url(
                mail.user, name, imap.status(name)["uidvalidity"])


def test_expunge_through_a_virtual_mailbox(mail, virtual):
    virtual.ok("STORE 1:3 +FLAGS.SILENT (\\Deleted)")
    mail.take()
    virtual.ok("EXPUNGE")
    came = mail.take()
    assert sorted(told(came)) == [("MessageExpunge", "INBOX", "1:2"),
                                  ("MessageExpunge", "Work", "1")]
    assert all(r.data["messages"] == 0 for r in came)


def test_fetch_through_a_virtual_mailbox(mail, virtual):
    virtual.ok("FETCH 1 BODY[]")
    [event] = mail.take()
    assert event.type == "MessageRead"
    assert event.data["vnd.mailhook.mailbox"] in ("INBOX", "Work")


def test_copy_and_move_out_of_a_virtual_mailbox(mail, virtual):
    virtual.ok("CREATE Target")
    mail.take()
    virtual.ok("COPY 1 Target")
    [copy] = mail.take()
    assert told([copy]) == [("MessageAppend", "Target", "1")]
    source = copy.data["vnd.mailhook.sourceUri"]
    assert "Virtual" not in source
    assert "/INBOX;" in source or "/Work;" in source
    virtual.ok("MOVE 1 Target")
    append, expunge = mail.take()
    assert (append.type, expunge.type) == ("MessageAppend", "MessageExpunge")
    assert expunge.data["vnd.mailhook.mailbox"] in ("INBOX", "Work")
    assert append.data[TRANSACTION] == expunge.data[TRANSACTION]


# -- doveadm

def test_doveadm_messages(mail):
    user = ("-u", mail.user)

    def doveadm(*args):
        mail.dovecot.doveadm(*args)
        return mail.take()

    for _ in range(3):
        mail.dovecot.doveadm("save", *user, "-m", "INBOX",
                             input=SMALL.decode())
    doveadm("mailbox", "create", *user, "Box")
    query = ("mailbox", "INBOX", "uid", "1")
    came = doveadm("flags", "add", *user, "\\Seen $A", *query)
    assert told(came) == [("MessageRead", "INBOX", "1"),
                          ("FlagsSet", "INBOX", "1")]
    assert doveadm("flags", "add", *user, "\\Seen $A", *query) == []
    came = doveadm("flags", "replace", *user, "$B", *query)
    assert told(came) == [("FlagsClear", "INBOX", "1"),
                          ("FlagsSet", "INBOX", "1")]
    assert sorted(came[0].data["flagNames"].split()) == ["$A", "\\Seen"]
    came = doveadm("flags", "remove", *user, "$B", *query)
    assert told(came) == [("FlagsClear", "INBOX", "1")]
    came = doveadm("copy", *user, "Box", *query)
    assert told(came) == [("MessageAppend", "Box", "1")]
    assert causes(came) == {"copy"}
    came = doveadm("move", *user, "Box", "mailbox", "INBOX", "uid", "2")
    assert told(came) == [("MessageAppend", "Box", "2"),
                          ("MessageExpunge", "INBOX", "2")]
    assert causes(came) == {"move"}
    # expire_services names doveadm: what it expunges is expiry (RFC 5423:
    # by the server's policy), but a MOVE is a MOVE.
    came = doveadm("expunge", *user, "mailbox", "INBOX", "all")
    assert told(came) == [("MessageExpire", "INBOX", "1,3")]
    assert came[0].data["messages"] == 0


def test_doveadm_mailboxes(mail):
    user = ("-u", mail.user)
    doveadm = mail.dovecot.doveadm
    doveadm("mailbox", "create", *user, "-s", "Top", "Top/Sub")
    assert told(mail.take()) == [
        ("MailboxCreate", "Top", None), ("MailboxSubscribe", "Top", None),
        ("MailboxCreate", "Top/Sub", None),
        ("MailboxSubscribe", "Top/Sub", None)]
    doveadm("mailbox", "unsubscribe", *user, "Top")
    doveadm("mailbox", "unsubscribe", *user, "Top")
    doveadm("mailbox", "rename", *user, "Top/Sub", "Top/Sup")
    doveadm("mailbox", "delete", *user, "-r", "Top")
    assert told(mail.take()) == [
        ("MailboxUnSubscribe", "Top", None),
        ("MailboxRename", "Top/Sup", None),
        ("MailboxDelete", "Top/Sup", None), ("MailboxDelete", "Top", None)]


def test_doveadm_import(mail, tmp_path):
    user = ("-u", mail.user)
    mail.deliver(SMALL)
    mail.deliver(SMALL)
    mail.take()
    source = f"sdbox:{mail.dovecot.top}/mail/{mail.user}/sdbox"
    mail.dovecot.doveadm("import", *user, source, "Old", "all")
    came = mail.take()
    assert told(came)[-2:] == [("MessageAppend", "Old/INBOX", "1"),
                               ("MessageAppend", "Old/INBOX", "2")]
    assert {r.type for r in came} <= {"MailboxCreate", "MessageAppend"}


def test_dsync_is_silent(mail):
    """backup and sync run as the same user and over the same names as the
    real mailboxes: never reported."""
    with mail.imap() as imap:
        imap.ok("CREATE Box")
        imap.append("Box", SMALL)
        imap.append("INBOX", SMALL, "\\Flagged")
    mail.take()
    target = mail.dovecot.top / "mail" / (mail.user + "-backup")
    location = f"sdbox:{target}"
    if SERIES == "2.3":
        mail.dovecot.doveadm("backup", "-u", mail.user, location)
        mail.dovecot.doveadm("sync", "-u", mail.user, location)
    else:
        for command in ("backup", "sync"):
            mail.dovecot.doveadm(command, "-u", mail.user, location,
                                 check=False)
    mail.expect()
    if SERIES == "2.3":
        assert (target / "mailboxes").exists()
        shutil.rmtree(target)


# -- expiry

def test_autoexpunge_is_message_expire(mail):
    with mail.imap() as imap:
        imap.ok("CREATE Few")
        for _ in range(3):
            imap.append("Few", SMALL)
        port = imap.port
    # The process does it after it answered LOGOUT.
    mail.receiver.wait(
        lambda: any(r.type == "MessageExpire" for r in mail.requests()),
        what="what a session expunges at its end")
    came = mail.take()
    assert told(came)[-1] == ("MessageExpire", "Few", "1:2")
    expire = came[-1].data
    assert (expire["vnd.mailhook.cause"], expire["messages"],
            expire["clientPort"]) == ("autoexpunge", 1, port)


# -- IMAP side by side

def test_catenate(mail):
    with mail.imap() as imap:
        valid, _ = imap.append("INBOX", SMALL)
        mail.take()
        imap.ok(f'APPEND INBOX (\\Draft) CATENATE '
                f'(URL "/INBOX;UIDVALIDITY={valid}/;UID=1")')
        [event] = mail.take()
        imap.ok("SELECT INBOX")
        assert event.data["messageSize"] == imap.fetch(2)["size"]
    assert told([event]) == [("MessageAppend", "INBOX", "2")]
    assert event.data["flagNames"] == "\\Draft"
    assert "vnd.mailhook.sourceUri" not in event.data


def test_multiappend(mail):
    """All or nothing: a part that is refused takes the others with it."""
    with mail.imap() as imap:
        imap.ok("STATUS INBOX (MESSAGES)")
        imap.ok("APPEND INBOX (\\Seen)", SMALL, b" ($Two)", SMALL)
        came = mail.take()
        assert told(came) == [("MessageAppend", "INBOX", "1"),
                              ("MessageAppend", "INBOX", "2")]
        assert [r.data["flagNames"] for r in came] == ["\\Seen", "$Two"]
        assert [r.data["uidnext"] for r in came] == [3, 3]
        assert came[0].data[TRANSACTION] == came[1].data[TRANSACTION]
        status, _ = imap.command(
            "APPEND INBOX", SMALL,
            b' CATENATE (URL "/INBOX/;UID=99") "no date"', b"x")
        assert not status.startswith("OK")
        assert imap.status("INBOX")["messages"] == 2
    mail.expect()


def test_store_unchangedsince(mail):
    """Of two messages the one that somebody changed meanwhile stays as it
    is: flags and keywords alike."""
    with mail.imap() as mine, mail.imap() as other:
        for _ in range(2):
            mine.append("INBOX", SMALL)
        mine.ok("SELECT INBOX (CONDSTORE)")
        other.ok("SELECT INBOX")
        modseq = mine.status("INBOX")["highestmodseq"]
        other.ok("STORE 1 +FLAGS ($Theirs)")
        mail.take()
        status, _ = mine.command(
            f"STORE 1:2 (UNCHANGEDSINCE {modseq}) +FLAGS ($Mine)")
        assert "MODIFIED 1" in status
        assert told(mail.take()) == [("FlagsSet", "INBOX", "2")]
        # The same keyword as the other session set: not set twice.
        other.ok("STORE 2 +FLAGS ($Same)")
        mail.take()
        mine.command(f"STORE 1:2 (UNCHANGEDSINCE {modseq}) +FLAGS ($Same)")
        mail.expect()


def test_idle_and_notify_see_the_same_and_tell_nothing(mail):
    """Watching sessions cause no events, however often they synchronize."""
    with mail.imap() as idle, mail.imap() as notify, mail.imap() as actor:
        idle.ok("SELECT INBOX")
        notify.ok("NOTIFY SET (INBOXES (MessageNew MessageExpunge "
                  "FlagChange))")
        idle.raw.send(b"x IDLE\r\n")
        assert idle.raw.readline().startswith(b"+")
        actor.ok("SELECT INBOX")
        actor.append("INBOX", SMALL)
        actor.ok("NOOP")
        actor.ok("STORE 1 +FLAGS (\\Flagged)")
        assert b"EXISTS" in idle.raw.readline()
        actor.ok("STORE 1 +FLAGS (\\Deleted)")
        actor.ok("EXPUNGE")
        while b"EXPUNGE" not in idle.raw.readline():
            pass
        idle.raw.send(b"DONE\r\n")
        while not idle.raw.readline().startswith(b"x OK"):
            pass
        notify.ok("NOOP")
        came = mail.take()
    assert [r.type for r in came] == ["MessageAppend", "FlagsSet",
                                      "MessageTrash", "MessageExpunge"]
    assert {r.data["clientPort"] for r in came} == {actor.port}


def test_two_sessions_expunge(mail):
    """What one has expunged and synchronized the other cannot; what both
    have still in sight may be told by both (documented)."""
    with mail.imap() as one, mail.imap() as two:
        for _ in range(3):
            one.append("INBOX", SMALL, "\\Deleted")
        one.ok("SELECT INBOX")
        two.ok("SELECT INBOX")
        mail.take()
        one.ok("UID EXPUNGE 1")
        two.ok("UID EXPUNGE 1:2")
        one.ok("EXPUNGE")
        came = mail.take()
        assert one.status("INBOX")["messages"] == 0
    uids = [r.data["uidset"] for r in came]
    assert {r.type for r in came} == {"MessageExpunge"}
    assert uids in (["1", "2", "3"], ["1", "1:2", "3"])


def test_pop3_lost_connection(mail):
    """Without QUIT nothing is deleted; what was read may be marked."""
    mail.deliver(SMALL)
    mail.deliver(SMALL)
    mail.take()
    pop3 = mail.dovecot.pop3(mail.user)
    pop3.raw.retr(1)
    pop3.raw.dele(2)
    pop3.drop()
    mail.receiver.wait(lambda: "Disconnected" in "".join(
        line for line in mail.dovecot.log().splitlines()
        if "pop3" in line and mail.user in line), what="pop3's end")
    came = mail.take()
    assert told(came) in ([], [("FlagsSet", "INBOX", "1")])
    with mail.imap() as imap:
        assert imap.status("INBOX")["messages"] == 2


# -- LMTP

def test_xclient_tells_the_real_client(mail):
    with mail.dovecot.lmtp() as lmtp:
        lmtp.raw.ehlo_or_helo_if_needed()
        code, text = lmtp.raw.docmd(
            "XCLIENT", "ADDR=192.0.2.7 PORT=4321 PROTO=ESMTP "
            "HELO=client.example.net")
        assert code == 220, text
        lmtp.raw.docmd("LHLO", "client.example.net")
        lmtp.raw.mail("sender@example.net")
        lmtp.raw.rcpt(mail.user)
        lmtp.raw.data(SMALL)
    [event] = mail.take()
    assert event.type == "MessageNew"
    assert (event.data["clientIP"], event.data["clientPort"]) == \
        ("192.0.2.7", 4321)


def test_eight_bits(mail):
    body = "Grüße, 日本\r\n"
    text = ("From: sender@example.net\r\nSubject: Äpfel\r\n"
            f"Content-Type: text/plain; charset=utf-8\r\n\r\n{body}")
    with mail.dovecot.lmtp() as lmtp:
        lmtp.raw.ehlo_or_helo_if_needed()
        lmtp.raw.mail("sender@example.net", ["BODY=8BITMIME"])
        lmtp.raw.rcpt(mail.user)
        lmtp.raw.data(text.encode())
    with mail.imap() as imap:
        imap.ok("SELECT INBOX")
        size = imap.fetch(1)["size"]
    [event] = mail.take()
    assert (event.type, event.data["messageSize"]) == ("MessageNew", size)


# -- mailboxes with each user's own \\Seen

def test_each_users_own_seen(serve):
    """Who reads is told, as is who sets what all see. How many are unseen
    depends on who asks, so nobody is told."""
    server = serve(namespaces=[
        Namespace("public", type="public", prefix="Public/",
                  path="{mail}/public", private_index="{home}/own",
                  subscriptions=False)])
    server.configuration.endpoints["all"]["parameters"] = '{"unseen"}'
    server.configuration.apply()
    mail, guest = server.mail(), server.mail()

    def board():
        mail.mark()
        events = [r for r in server.receiver.answered(server.path)
                  if r.owner == "Public%2F"]
        new = events[len(taken):]
        taken.extend(new)
        return new

    taken = []
    with mail.imap() as mine, guest.imap() as theirs:
        mine.ok("CREATE Public/Board")
        mine.append("Public/Board", SMALL)
        mine.append("INBOX", SMALL)
        for imap in (mine, theirs):
            imap.ok("SELECT Public/Board (CONDSTORE)")
        create, append = board()
        assert append.type == "MessageAppend"
        assert "vnd.mailhook.unseen" not in append.data
        assert [r.data["vnd.mailhook.unseen"] for r in mail.take()
                if r.type == "MessageAppend"] == [1]
        theirs.ok("FETCH 1 BODY[]")
        theirs.ok("STORE 1 +FLAGS (\\Answered)")
        seen, answered = board()
        assert told([seen, answered]) == [
            ("MessageRead", "Public/Board", "1"),
            ("FlagsSet", "Public/Board", "1")]
        assert seen.data["user"] == answered.data["user"] == guest.user
        assert answered.data["flagNames"] == "\\Answered"
        mine.ok("NOOP")
        assert mine.status("Public/Board")["highestmodseq"] == \
            answered.data["modseq"] > seen.data["modseq"]
        assert b"\\Seen" not in b"".join(mine.ok("FETCH 1 FLAGS"))
        theirs.ok("STORE 1 -FLAGS (\\Seen)")
        assert [(r.type, r.data["flagNames"]) for r in board()] == \
            [("FlagsClear", "\\Seen")]


# -- the server's name

def test_ipv6_literals(serve):
    """A server without a name, a client that comes over IPv6."""
    server = serve(extra="listen = 127.0.0.1, ::1\n",
                   settings={"server_name": '"2001:db8::25"'})
    mail = server.mail()
    with Imap(server.dovecot.imap_port, mail.user, "::1") as imap:
        imap.append("INBOX", SMALL)
        valid = imap.status("INBOX")["uidvalidity"]
    mail.wait(1)
    [append] = mail.requests()
    assert append.data["uri"] == \
        f"imap://{mail.user.replace('@', '%40')}@[2001:db8::25]/INBOX" + \
        f";UIDVALIDITY={valid}/;UID=1"
    assert append.event["source"].startswith("imap://[2001:db8::25]/#")
    assert (append.data["clientIP"], append.data["clientPort"]) == \
        ("::1", imap.port)


def test_server_name_is_dovecots_unless_given(private):
    """URLs and sources name one host."""
    dovecot, configuration, path = private(
        "service", start=False, extra="hostname = imap.example.net\n")
    mail = Mail(dovecot, configuration.receiver, path, "one@x")

    def hosts(count):
        mail.deliver(SMALL)
        mail.wait(count)
        one = mail.requests()[-1]
        return {one.event["source"].split("/")[2],
                one.data["uri"].split("/")[2].rpartition("@")[2]}

    del configuration.settings["server_name"]
    configuration.write()
    dovecot.start()
    assert hosts(1) == {"imap.example.net"}
    configuration.settings["server_name"] = '"mail.example.com"'
    configuration.apply()
    assert hosts(2) == {"mail.example.com"}


# -- a failed DELETE

def test_a_mailbox_that_was_emptied_but_stays(mail):
    """Deleting empties it first. If its directory then cannot go, the
    messages have gone all the same."""
    with mail.imap() as imap:
        imap.ok("CREATE Stuck")
        for _ in range(2):
            imap.append("Stuck", SMALL)
        valid = imap.status("Stuck")["uidvalidity"]
        guid = mail.dovecot.mailbox_guid(mail.user, "Stuck")
        mail.take()
        home = mail.dovecot.top / "mail" / mail.user / "sdbox"
        mailboxes = home / "mailboxes"
        os.chmod(mailboxes, 0o555)
        try:
            with mail.imap() as other:
                other.no("DELETE Stuck")
        finally:
            os.chmod(mailboxes, 0o755)
    came = mail.take()
    assert not list((mailboxes / "Stuck").glob("*/u.*"))
    assert told(came) == [("MessageExpunge", "Stuck", "1:2")]
    data = came[0].data
    assert (data["mailboxID"], data["vnd.mailhook.mailboxGuid"]) == \
        (mailbox_url(mail.user, "Stuck", valid), guid)
    assert (data["messages"], data["uidnext"]) == (0, 3)


# -- names

def names_of_bytes():
    """Every character below 128 that Dovecot accepts in a name, then more."""
    plain = "".join(chr(c) for c in range(0x21, 0x7f)
                    if chr(c) not in "/~%*\\\"")
    return [plain[:40], plain[40:], "a b", "50%", 'quo"te', "back\\slash",
            "tilde~", "R&D", "star*", "Entwürfe", "日本語", "😀", "ﬁ",
            "e\u0301", "x" * 200, "INBOX2", "In.box"]


@pytest.mark.parametrize("name", names_of_bytes())
def test_mailbox_names(mail, name):
    from harness.utf7 import encode
    wire = encode(name).replace("\\", "\\\\").replace('"', '\\"')
    with mail.imap() as imap:
        status, _ = imap.command(f'CREATE "{wire}"')
        if not status.startswith("OK"):
            assert any(c in name for c in "*%~") or len(name) > 100, status
            mail.expect()
            return
        valid, _ = imap.append(wire, SMALL)
        create, append = mail.take()
    assert create.data["mailboxID"] == mailbox_url(mail.user, name, valid)
    assert append.data["uri"] == mailbox_url(mail.user, name, valid, 1)
    assert append.data["vnd.mailhook.mailbox"] == name


@pytest.mark.parametrize("name", [
    "per%cent@example.org", "plus+detail@example.org", "eq=ual@example.org",
    "amp&er@example.org", "under_score-dash.dot@example.org", "nodomain",
    "semi;colon@example.org", "quo\"te'@example.org",
    "back\\slash@example.org", "a!#$(),<>[]^`{|}~@example.org",
    "two words@example.org", "üml@example.org", "日本@example.org"])
def test_user_names(server, name):
    one = server.mail(name)
    with one.imap() as imap:
        valid, _ = imap.append("INBOX", SMALL)
    [event] = one.take()
    assert event.data["user"] == name
    assert event.data["mailboxID"] == mailbox_url(name, "INBOX", valid)
    assert event.data["mailboxID"].count("@") == 1


# -- plugins that expunge or move behind one's back

@pytest.fixture(scope="module")
def lazy_server(serve):
    return serve(mail_plugins={"": ("lazy_expunge",)},
                 extra=DIALECT.lazy_expunge("Expunged"))


def test_lazy_expunge(lazy_server):
    """An expunge is a move to the expunge mailbox; expunging there is one."""
    mail = lazy_server.mail()
    with mail.imap() as imap:
        for _ in range(2):
            imap.append("INBOX", SMALL, "\\Deleted")
        imap.ok("SELECT INBOX")
        valid = imap.status("INBOX")["uidvalidity"]
        mail.take()
        imap.ok("EXPUNGE")
        came = mail.take()
        messages = [r for r in came if r.type.startswith("Message")]
        assert told(messages) == [
            ("MessageAppend", "Expunged", "1"),
            ("MessageAppend", "Expunged", "2"),
            ("MessageExpunge", "INBOX", "1:2")]
        assert {r.type for r in came} - {r.type for r in messages} <= \
            {"MailboxCreate"}
        assert causes(messages) == {"lazy_expunge"}
        assert messages[0].data["vnd.mailhook.sourceUri"] == \
            mailbox_url(mail.user, "INBOX", valid, 1)
        assert len({r.data[TRANSACTION] for r in messages}) == 1
        imap.ok("SELECT Expunged")
        imap.ok("STORE 1 +FLAGS.SILENT (\\Deleted)")
        mail.take()
        imap.ok("EXPUNGE")
        came = mail.take()
    assert told(came) == [("MessageExpunge", "Expunged", "1")]
    assert causes(came) == {"expunge"}


def test_lazy_expunge_of_a_deleted_mailbox(lazy_server):
    mail = lazy_server.mail()
    with mail.imap() as imap:
        imap.ok("CREATE Old")
        imap.append("Old", SMALL)
        mail.take()
        imap.ok("DELETE Old")
        came = mail.take()
    assert [one for one in told(came) if one[0] != "MailboxCreate"] == [
        ("MessageAppend", "Expunged", "1"), ("MailboxDelete", "Old", None)]


@pytest.fixture(scope="module")
def tight_server(serve, tmp_path_factory):
    file = tmp_path_factory.mktemp("trash") / "trash.conf"
    let_in(file.parent)
    return serve(
        mail_plugins={"": ("trash",)}, quota=[QuotaRoot(grace="0")],
        users=[User("t1@example.org", MAIL_UID,
                    fields=DIALECT.user_quota(storage="50K"))],
        extra=DIALECT.trash(["Trash"], file))


def test_trash_makes_room(tight_server):
    """The quota plugin's neighbour expunges others to let a message in."""
    mail = tight_server.mail("t1@example.org")
    large = message("Large", ("y" * 70 + "\n") * 250)
    with mail.imap() as imap:
        imap.ok("CREATE Trash")
        for _ in range(2):
            imap.append("Trash", large)
        mail.take()
        imap.append("INBOX", large)
        came = mail.take()
        left = imap.status("Trash")["messages"]
    # How many go is its affair.
    assert left < 2
    assert [one for one in told(came) if one[0].startswith("Message")] == [
        ("MessageExpunge", "Trash", str(uid)) for uid in range(1, 3 - left)
    ] + [("MessageAppend", "INBOX", "1")]
    assert not [r for r in came if r.type == "QuotaExceed"]


def test_copies_that_are_committed_though_refused(serve):
    """doveadm copy does not roll back what quota refused: what IMAP then
    sees in the mailbox is what was told, no more and no less."""
    mail = serve(quota=[QuotaRoot(messages=6, grace="0")]).mail()
    with mail.imap() as imap:
        imap.ok("CREATE Box")
        for _ in range(4):
            imap.append("INBOX", SMALL)
    mail.take()
    done = mail.dovecot.doveadm("copy", "-u", mail.user, "Box", "mailbox",
                                "INBOX", "all", check=False)
    assert done.returncode != 0
    came = mail.take()
    with mail.imap() as imap:
        there = imap.status("Box")["messages"]
    appended = [r for r in came if r.type == "MessageAppend"]
    assert told(appended) == [("MessageAppend", "Box", str(uid))
                              for uid in range(1, there + 1)]
    for event in appended:
        assert "/INBOX;" in event.data["vnd.mailhook.sourceUri"]


# -- durability

def test_power_syncs_before_the_answer(serve):
    """mailhook_durability = power: each event is on disk when the command is
    answered; a disk that refuses holds no mail up."""
    if shutil.which("strace") is None:
        pytest.skip("no strace here")
    setting = "mailhook_durability = power"
    one = serve(extra=f"plugin {{\n  {setting}\n}}\n" if SERIES == "2.3"
                else setting + "\n")
    mail = one.mail()
    with mail.imap() as imap:
        imap.append("INBOX", SMALL)
        pid = mail.take()[0].data["pid"]
        trace = one.dovecot.top / "trace"
        strace = subprocess.Popen(
            ["strace", "-qq", "-f", "-yy", "-p", str(pid), "-o", trace, "-e",
             "trace=write,fdatasync,writev,sendto"],
            stdin=subprocess.DEVNULL, stderr=subprocess.PIPE)
        try:
            mail.receiver.wait(lambda: b"TracerPid:\t0\n" not in open(
                f"/proc/{pid}/status", "rb").read(), what="strace")
            imap.append("INBOX", SMALL)
        finally:
            strace.terminate()
            strace.wait()
        if not trace.exists() or not trace.read_text():
            pytest.skip("strace may not trace here")
        lines = trace.read_text().splitlines()
        first = [next(n for n, line in enumerate(lines) if what(line))
                 for what in (
                     lambda line: "write(" in line and "MessageAppend" in line
                     or "/mailhook/journal" in line and "write(" in line,
                     lambda line: "fdatasync(" in line and "journal" in line,
                     lambda line: "APPENDUID" in line)]
        assert first == sorted(first)
    assert told(mail.take()) == [("MessageAppend", "INBOX", "2")]


if SERIES == "2.3":
    def test_mailbox_alias(serve):
        """An alias is a link to a mailbox: one event for one change."""
        one = serve(mail_plugins={"": ("mailbox_alias",)}, mail_driver="maildir",
                    extra="plugin {\n  mailbox_alias_old = Sent\n"
                    "  mailbox_alias_new = Sent Messages\n}\n")
        mail = one.mail()
        with mail.imap() as imap:
            imap.ok("CREATE Sent")
            imap.ok('CREATE "Sent Messages"')
            mail.take()
            imap.append("Sent Messages", SMALL)
            [event] = mail.take()
            assert event.type == "MessageAppend"
            assert imap.status("Sent")["messages"] == 1
