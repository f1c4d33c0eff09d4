"""Parameters that an endpoint gets only if it asks: against what IMAP says of
the same message, and never for those who did not ask."""

import base64
import json
import re
import smtplib
import subprocess

import pytest

from conftest import Configuration, fresh_user
from harness.clients import message
from harness.dialect import Namespace
from harness.dovecot import Dovecot
from harness.expect import Mail

ALL = '{"envelope", "bodyStructure", "messageContent", "headers", "unseen"}'
CONTENT = '{"messageContent"}'
LIMIT = 1500
ENCODING = "vnd.mailhook.contentEncoding"
SUPPRESSED = "vnd.mailhook.contentSuppressed"
HEADERS = "vnd.mailhook.headers"
UNSEEN = "vnd.mailhook.unseen"
OPTIONAL = {"envelope", "bodyStructure", "messageContent", ENCODING,
            SUPPRESSED, HEADERS, UNSEEN}

SMALL = message("Small", "One line.\n")
NESTED = (
    b"From: a@example.net\r\nTo: b@example.org\r\nSubject: Parts\r\n"
    b"MIME-Version: 1.0\r\n"
    b'Content-Type: multipart/mixed; boundary="x y"\r\n\r\n'
    b"preamble\r\n--x y\r\n"
    b"Content-Type: text/plain; charset=utf-8\r\n"
    b"Content-Transfer-Encoding: 8bit\r\n\r\n"
    b"Gr\xc3\xbc\xc3\x9fe\r\n--x y\r\n"
    b'Content-Type: application/pdf; name="a \\"b\\".pdf"\r\n'
    b"Content-Disposition: attachment; filename=\"\xc3\xa4.pdf\"\r\n"
    b"Content-Transfer-Encoding: base64\r\n\r\nAAAA\r\n--x y\r\n"
    b"Content-Type: message/rfc822\r\n\r\n"
    b"From: c@example.net\r\nSubject: =?utf-8?q?inner?=\r\n\r\nInner.\r\n"
    b"--x y--\r\n")
BROKEN = (b"Subject: broken\r\n"
          b"Content-Type: multipart/mixed; boundary=never\r\n\r\nno parts\r\n")
LATIN1 = b"Subject: latin1\r\n\r\nGr\xfc\xdfe\r\n"
ODD = {"plain": SMALL, "nested": NESTED, "broken": BROKEN, "latin1": LATIN1,
       "headers only": b"Subject: x\r\n\r\n", "no header": b"\r\nbody\r\n",
       "quotes": b"Subject: \"\\\r\n\r\n\"\\/\x7f\t\x0c\r\n" + b"." * 99,
       "no end of line": b"Subject: x\r\n\r\nno line end"}


class Seen(Mail):
    """A user as one of several endpoints sees him: each one's marker comes
    to all of them."""

    def take(self):
        return [r for r in super().take() if r.type != "MailboxSubscribe"]


class Everything:
    """One server, endpoints that ask for this and that."""

    def __init__(self, receiver):
        self.receiver = receiver
        self.configuration = Configuration(receiver)
        self.paths = {}
        self.add("rich", parameters=ALL, content_limit='"1M"',
                 tags='{"portal", "zwölf"}', users='{"!nobody*"}')
        self.add("plain")
        for part in ("message", "headers", "body", "headersbody"):
            self.add(part, parameters=CONTENT, content_limit=str(LIMIT),
                     content_part=f'"{part}"', users='{"!nobody*"}')
        self.dovecot = Dovecot(
            config=self.configuration.text(), sieve=True,
            namespaces=[
                Namespace(driver, prefix=f"{driver}/", driver=driver,
                          path="{home}/" + driver)
                for driver in ("maildir", "mdbox", "mbox")])
        self.configuration.dovecot = self.dovecot

    def add(self, name, **keys):
        self.paths[name] = self.configuration.add(name, **keys)

    def seen_by(self, name, user):
        return Seen(self.dovecot, self.receiver, self.paths[name], user)

    def journal(self, user):
        """The records of MessageNew and MessageAppend of this user."""
        text = (self.dovecot.state / "journal").read_bytes()
        records = [json.loads(one) for one in text.split(b"\x1e")[1:]]
        return [one for one in records if one.get("owner") == user and
                one["type"] in ("MessageNew", "MessageAppend")]


@pytest.fixture(scope="module")
def server(receiver):
    one = Everything(receiver)
    with one.dovecot:
        yield one


@pytest.fixture
def user():
    return fresh_user("params")


@pytest.fixture
def rich(server, user):
    return server.seen_by("rich", user)


@pytest.fixture
def plain(server, user):
    return server.seen_by("plain", user)


def literal(imap, uid, section):
    """BODY.PEEK[section] of a message of the selected mailbox."""
    [line] = [one for one in imap.ok(f"UID FETCH {uid} (BODY.PEEK[{section}])")
              if b" FETCH " in one]
    found = re.search(rb"\] \{(\d+)\}\r\n", line)
    if not found:
        assert b'] ""' in line or b"] NIL" in line, line
        return b""
    return line[found.end():found.end() + int(found[1])]


def body_structure(imap, uid):
    """As FETCH says it, octets that are no UTF-8 replaced."""
    [line] = [one for one in imap.ok(f"UID FETCH {uid} (BODYSTRUCTURE)")
              if b" FETCH " in one]
    text = re.search(rb"BODYSTRUCTURE (\(.*\))\)$", line, re.S)[1]
    return text.decode("utf-8", "replace")


def content(data):
    text = data["messageContent"]
    if ENCODING in data:
        assert data[ENCODING] == "base64"
        return base64.b64decode(text, validate=True)
    return text.encode()


def only(mail, kind=None):
    [event] = mail.take()
    assert kind is None or event.type == kind
    return event.data


def raw_lmtp(server, sender, *recipients, mail=SMALL):
    """A delivery with these very lines; the answers of DATA."""
    with smtplib.LMTP("127.0.0.1", server.dovecot.lmtp_port) as lmtp:
        lmtp.ehlo_or_helo_if_needed()
        lmtp.command_encoding = "utf-8"
        for line in (f"MAIL FROM:{sender}",
                     *(f"RCPT TO:{one}" for one in recipients)):
            code, answer = lmtp.docmd(line)
            assert code == 250, (line, answer)
        code, answer = lmtp.docmd("DATA")
        assert code == 354, answer
        lmtp.send(mail + b".\r\n")
        for _ in recipients:
            code, answer = lmtp.getreply()
            assert code == 250, answer


# -- who gets what

def test_only_those_who_asked(server, user, rich, plain):
    rich.deliver(SMALL)
    [full], [bare] = rich.take(), plain.take()
    assert full.data["tags"] == "portal,zwölf"
    assert full.id == bare.id
    assert OPTIONAL & set(full.data) == \
        OPTIONAL - {ENCODING, SUPPRESSED}
    rest = {k: v for k, v in full.data.items() if k not in OPTIONAL}
    del rest["tags"]
    assert rest == bare.data


def test_tags_are_on_every_event(rich, plain):
    with rich.imap() as imap:
        imap.ok("CREATE Archive")
        assert only(rich, "MailboxCreate")["tags"] == "portal,zwölf"
        assert "tags" not in only(plain)


def test_nothing_is_looked_up_for_who_is_not_asked_about(server):
    """The same server, a user whom only the plain endpoint wants."""
    user = fresh_user("nobody")
    plain = server.seen_by("plain", user)
    plain.deliver(SMALL)
    with plain.imap() as imap:
        imap.append("INBOX", SMALL)
    assert [r.type for r in plain.take()] == ["MessageNew", "MessageAppend"]
    for record in server.journal(user):
        assert list(record) == ["id", "type", "time", "user", "owner",
                                "mailbox", "data"]
        assert not OPTIONAL & set(record["data"])


def test_the_journal_has_each_value_once(server, user, rich):
    rich.deliver(SMALL)
    data = only(rich)
    [record] = server.journal(user)
    assert not OPTIONAL & set(record["data"])
    assert record["envelope"] == data["envelope"]
    assert record["headers"] == data[HEADERS]
    assert record["messageContent"] == {
        "octets": data["messageSize"], "text": data["messageContent"]}


# -- bodyStructure

@pytest.mark.parametrize("name", ODD)
def test_body_structure_of_an_append(rich, name):
    with rich.imap() as imap:
        imap.append("INBOX", ODD[name])
        imap.ok("SELECT INBOX")
        assert only(rich)["bodyStructure"] == body_structure(imap, 1)


def test_body_structure_of_a_delivery(server, rich):
    second = server.seen_by("rich", fresh_user("params"))
    rich.deliver(NESTED, second.user)
    for one in (rich, second):
        with one.imap() as imap:
            imap.ok("SELECT INBOX")
            data = only(one, "MessageNew")
            assert data["bodyStructure"] == body_structure(imap, 1)
            assert content(data) == literal(imap, 1, "")


# -- envelope

def test_envelope_has_its_parameters(server, user, rich):
    raw_lmtp(server, "<sender@example.net> BODY=8BITMIME",
             f"<{user}> ORCPT=rfc822;joe+2Bbox@example.com")
    assert only(rich, "MessageNew")["envelope"] == (
        "MAIL FROM:<sender@example.net> BODY=8BITMIME\r\n"
        f"RCPT TO:<{user}> ORCPT=rfc822;joe+2Bbox@example.com\r\n")


def test_envelope_beyond_ascii(server, user, rich):
    """Stock Dovecot does not offer SMTPUTF8 (RFC 6531), and refuses it as a
    parameter, but it takes such a sender."""
    raw_lmtp(server, "<grüße@example.net>", f"<{user}>")
    assert only(rich)["envelope"] == \
        f"MAIL FROM:<grüße@example.net>\r\nRCPT TO:<{user}>\r\n"


def test_envelope_of_a_bounce(server, user, rich):
    raw_lmtp(server, "<>", f"<{user}>")
    assert only(rich)["envelope"] == f"MAIL FROM:<>\r\nRCPT TO:<{user}>\r\n"


def test_envelope_names_this_recipient_only(server, user, rich):
    second = server.seen_by("rich", fresh_user("params"))
    raw_lmtp(server, '<"odd one"@example.net> BODY=7BIT', f"<{user}>",
             f"<{second.user}> ORCPT=x-odd;any+3Dthing")
    mail_from = 'MAIL FROM:<"odd one"@example.net> BODY=7BIT\r\n'
    assert only(rich)["envelope"] == mail_from + f"RCPT TO:<{user}>\r\n"
    assert only(second)["envelope"] == mail_from + \
        f"RCPT TO:<{second.user}> ORCPT=x-odd;any+3Dthing\r\n"


def test_each_delivery_of_a_connection_has_its_own(server, user, rich):
    with server.dovecot.lmtp() as lmtp:
        for number in (1, 2):
            lmtp.deliver(SMALL, user, sender=f"s{number}@example.net")
    assert [r.data["envelope"].split("\r\n")[0] for r in rich.take()] == \
        ["MAIL FROM:<s1@example.net>", "MAIL FROM:<s2@example.net>"]


def test_only_deliveries_have_an_envelope(rich):
    rich.deliver(SMALL)
    rich.take()
    with rich.imap() as imap:
        imap.append("INBOX", SMALL)
        imap.ok("SELECT INBOX")
        imap.ok("COPY 1 INBOX")
    events = rich.take()
    assert [r.type for r in events] == ["MessageAppend"] * 2
    assert not any("envelope" in r.data for r in events)


def test_sieve_has_the_envelope(server, user, rich):
    """Pigeonhole never calls the hook below its own."""
    server.dovecot.sieve_script(user, """
        require ["fileinto", "mailbox"];
        if header :is "subject" "Both" {
            fileinto :create "Filed";
            keep;
        } elsif header :is "subject" "Filed" {
            fileinto :create "Filed";
        }
        """)
    cases = {"Kept": ["INBOX"], "Filed": ["Filed"],
             "Both": ["Filed", "INBOX"]}
    for subject, mailboxes in cases.items():
        raw_lmtp(server, f"<{subject}@example.net>", f"<{user}>",
                 mail=message(subject))
        events = [r for r in rich.take() if r.type == "MessageNew"]
        assert sorted(r.data["vnd.mailhook.mailbox"] for r in events) == \
            mailboxes
        for event in events:
            assert event.data["vnd.mailhook.cause"] == "sieve"
            assert event.data["envelope"] == (
                f"MAIL FROM:<{subject}@example.net>\r\n"
                f"RCPT TO:<{user}>\r\n")
            assert event.data[HEADERS]["subject"] == subject


def lda(server, user, *args):
    subprocess.run(
        ["/usr/lib/dovecot/dovecot-lda", "-c", server.dovecot.conf, "-d",
         user, *args], input=SMALL.replace(b"\r\n", b"\n"), check=True,
        env={"PATH": "/usr/bin", **{
            k: str(v) for k, v in server.dovecot.environment.items()}})


def test_dovecot_lda(server, user, rich):
    lda(server, user, "-f", "sender@example.net", "-a", "alias@example.com")
    assert only(rich, "MessageNew")["envelope"] == (
        "MAIL FROM:<sender@example.net>\r\nRCPT TO:<alias@example.com>\r\n")
    lda(server, user, "-f", "")
    assert only(rich)["envelope"] == f"MAIL FROM:<>\r\nRCPT TO:<{user}>\r\n"
    # Without -f nobody knows the sender: not even that there was none.
    lda(server, user)
    assert only(rich)["envelope"] == f"RCPT TO:<{user}>\r\n"


# -- messageContent

@pytest.mark.parametrize("name", ODD)
@pytest.mark.parametrize("mailbox", ["INBOX", "maildir/Box", "mdbox/Box"])
def test_content_is_what_imap_reads(server, user, rich, name, mailbox):
    with rich.imap() as imap:
        if mailbox != "INBOX":
            imap.ok(f'CREATE "{mailbox}"')
            rich.take()
        imap.append(mailbox, ODD[name])
        imap.ok(f'SELECT "{mailbox}"')
        data = only(rich)
        whole = literal(imap, 1, "")
        assert content(data) == whole
        assert (ENCODING in data) == (name == "latin1")
        if len(whole) > LIMIT:
            return
        for part, section in (("message", ""), ("headers", "HEADER"),
                              ("body", "TEXT"), ("headersbody", "")):
            mail = server.seen_by(part, user)
            data = mail.take()[-1].data
            assert content(data) == literal(imap, 1, section), part
            assert OPTIONAL & set(data) <= {"messageContent", ENCODING}


def sized(octets, body):
    """A message of so many octets, so many of them its body's."""
    head = b"Subject: sized\r\nX-Fill: "
    fill = octets - body - len(head) - 4
    assert fill > 0
    return head + b"f" * fill + b"\r\n\r\n" + b"b" * (body - 2) + b"\r\n"


@pytest.mark.parametrize("part, octets, body, kept", [
    ("message", LIMIT, 1000, True),
    ("message", LIMIT + 1, 1000, False),
    ("headers", LIMIT + 500, 500, True),
    ("headers", LIMIT + 501, 500, False),
    ("body", LIMIT + 100, LIMIT, True),
    ("body", LIMIT + 101, LIMIT + 1, False),
    ("headersbody", 2 * LIMIT, LIMIT, True),
    ("headersbody", 2 * LIMIT, LIMIT + 1, False),
])
def test_limit(server, user, part, octets, body, kept):
    """The limit itself is within it; nothing is ever cut."""
    mail = server.seen_by(part, user)
    section = {"message": "", "headers": "HEADER", "body": "TEXT",
               "headersbody": "" if kept else "HEADER"}[part]
    with mail.imap() as imap:
        imap.append("INBOX", sized(octets, body))
        imap.ok("SELECT INBOX")
        data = only(mail)
        assert data["messageSize"] == octets
        assert data.get(SUPPRESSED) == (None if kept else "limit")
        if kept or part == "headersbody":
            assert content(data) == literal(imap, 1, section)
        else:
            assert "messageContent" not in data
    [record] = server.journal(user)
    # The rich endpoint's limit is the largest; it takes the whole message.
    assert "text" in record["messageContent"]
    for name in ("messageContent.headers", "messageContent.body"):
        assert ("text" in record[name]) == \
            (record[name]["octets"] <= LIMIT or "headers" in name)


@pytest.mark.parametrize("deliver", [False, True])
def test_five_megabytes(server, user, rich, deliver):
    """More than any limit: nothing of it is kept but what was asked for."""
    mail = message("Large", "A line of some length, many times.\n" * 140000)
    assert len(mail) > 5000000
    headers = server.seen_by("headersbody", user)
    if deliver:
        rich.deliver(mail)
    with rich.imap() as imap:
        if not deliver:
            imap.append("INBOX", mail)
        imap.ok("SELECT INBOX")
        data = only(rich)
        assert data[SUPPRESSED] == "limit"
        assert "messageContent" not in data
        assert data["bodyStructure"] == body_structure(imap, 1)
        assert data[HEADERS]["subject"] == "Large"
        data = only(headers)
        assert content(data) == literal(imap, 1, "HEADER")
        assert data[SUPPRESSED] == "limit"
    [record] = server.journal(user)
    assert record["messageContent"] == {
        "octets": data["messageSize"], "suppressed": "limit"}
    assert len(json.dumps(record)) < 10000


def test_content_of_one_transaction_is_bounded(server, user, rich):
    """16 MiB, in the order of the messages; the headers alone fit in."""
    mail = sized(1024 * 1024, 1024 * 1024 - 200)
    with rich.imap() as imap:
        literals = [mail]
        for _ in range(18):
            literals += [b"", mail]
        imap.ok("APPEND INBOX", *literals)
    events = rich.take()
    assert len(events) == 19
    kept = [r for r in events if "messageContent" in r.data]
    assert kept == events[:16]
    assert all(content(r.data) == mail for r in kept)
    assert [r.data.get(SUPPRESSED) for r in events] == \
        [None] * 16 + ["transaction"] * 3


@pytest.mark.parametrize("source, target", [
    ("INBOX", "Copies"),               # a hard link
    ("INBOX", "maildir/Copies"),       # saved again
    ("INBOX", "mdbox/Copies"),
    ("mdbox/Origin", "mdbox/Copies"),  # a reference
    ("maildir/Origin", "maildir/Copies"),
])
@pytest.mark.parametrize("command", ["COPY", "MOVE"])
def test_copies(rich, source, target, command):
    with rich.imap() as imap:
        if source != "INBOX":
            imap.ok(f'CREATE "{source}"')
        imap.ok(f'CREATE "{target}"')
        for mail in (NESTED, LATIN1):
            imap.append(source, mail)
        rich.take()
        imap.ok(f'SELECT "{source}"')
        imap.ok(f'{command} 1:2 "{target}"')
        events = [r for r in rich.take() if r.type == "MessageAppend"]
        imap.ok(f'SELECT "{target}"')
        assert len(events) == 2
        for uid, event in enumerate(events, 1):
            assert event.data["bodyStructure"] == body_structure(imap, uid)
            assert content(event.data) == literal(imap, uid, "")
            assert event.data[UNSEEN] == 2
        assert [r.data[HEADERS].get("subject") for r in events] == \
            ["Parts", "latin1"]


def test_mbox_is_not_read_while_it_is_written(rich):
    """What was parsed is told, the content is not; the save is fine."""
    with rich.imap() as imap:
        imap.ok('CREATE "mbox/Box"')
        rich.take()
        imap.append("mbox/Box", NESTED)
        imap.append("mbox/Box", SMALL)
        first, second = (r.data for r in rich.take())
        imap.ok('SELECT "mbox/Box"')
        assert literal(imap, 2, "TEXT") == b"One line.\r\n"
        for uid, data in enumerate((first, second), 1):
            assert data[SUPPRESSED] == "unreadable"
            assert "messageContent" not in data
            assert data["bodyStructure"] == body_structure(imap, uid)
        assert second[HEADERS]["subject"] == "Small"
    assert "Panic" not in rich.dovecot.log()


def test_a_failed_append_keeps_its_error_and_tells_nothing(rich):
    with rich.imap() as imap:
        imap.ok("CREATE Box")
        rich.take()
        status, _ = imap.command("APPEND Nowhere", SMALL)
        assert status.startswith("NO [TRYCREATE]")
        # The second part has no date, which 2.3 says before it takes it and
        # 2.4 after: the first is rolled back.
        try:
            status, _ = imap.command("APPEND Box", SMALL, b' "no date"',
                                     SMALL)
        except AssertionError as refused:
            status = str(refused)
        assert "BAD" in status and "Invalid internal date" in status
    with rich.imap() as imap:
        assert imap.status("Box")["messages"] == 0
    assert rich.take() == []


# -- headers

def long_list(count):
    return ",\r\n ".join(f"Person {n} <p{n}@example.org>"
                         for n in range(count)).encode()


@pytest.mark.parametrize("head, expected", [
    (b"From: =?iso-8859-1?q?J=F6rg?= <j@example.net>\r\n"
     b"To: =?utf-8?b?w4RubmE=?= <a@example.org>, b@example.org\r\n"
     b"Subject: =?utf-8?q?Gr=C3=BC?= =?utf-8?q?=C3=9Fe?= und mehr\r\n"
     b"Date: Tue, 24 Nov 2026 10:00:00 +0100\r\n"
     b"Message-ID: <1@example.net>\r\n",
     {"from": "Jörg <j@example.net>",
      "to": "Änna <a@example.org>, b@example.org",
      "subject": "Grüße und mehr",
      "date": "Tue, 24 Nov 2026 10:00:00 +0100",
      "messageId": "<1@example.net>"}),
    (b"Subject: folded\r\n over\r\n\tlines\r\n",
     {"subject": "folded over lines"}),
    (b"subject: any case\r\nSubject: the second\r\n",
     {"subject": "any case"}),
    (b"Subject: raw \xc3\xa9 and \xe9!\r\n", {"subject": "raw é and �!"}),
    (b"Subject: =?utf-8?q?a=00b=0D=0Ac=07?=\r\n", {"subject": "a b  c"}),
    (b"Subject: =?unknown-8?q?x?= =?utf-8?b?!?=\r\n", None),
    (b"Subject:\r\n", {"subject": ""}),
    (b"Subject:\r\n begins below\r\n", {"subject": "begins below"}),
    (b"X-Subject: a\r\nSubjects: b\r\nSubject: c\r\nTo: d\r\n",
     {"subject": "c", "to": "d"}),
    (b"X-Folded: a\r\n Subject: b\r\nDate: x\r\n", {"date": "x"}),
    (b"X-Other: 1\r\n", {}),
    (b"", {}),
])
def test_headers(rich, head, expected):
    with rich.imap() as imap:
        imap.append("INBOX", head + b"\r\nbody\r\n")
        headers = only(rich)[HEADERS]
        if expected is not None:
            assert headers == expected
        else:
            assert set(headers) == {"subject"}
        # Copied, they come from another place.
        imap.ok("SELECT INBOX")
        imap.ok("COPY 1 INBOX")
        assert only(rich)[HEADERS] == headers


def test_headers_are_bounded(rich):
    with rich.imap() as imap:
        imap.append("INBOX", b"To: " + long_list(5000) + b"\r\nSubject: " +
                    "ä".encode() * 6000 + b"\r\n\r\n")
    headers = only(rich)[HEADERS]
    assert headers["to"].startswith("Person 0 <p0@example.org>, Person 1 <")
    for name in ("to", "subject"):
        assert headers[name].endswith("…")
        assert 8180 < len(headers[name].encode()) <= 8192 + 3
    assert set(headers["subject"]) == {"ä", "…"}


# -- unseen

def test_unseen_is_what_status_says(rich):
    with rich.imap() as imap:
        def step(line, *literals):
            imap.ok(line, *literals)
            return [r.data[UNSEEN] for r in rich.take()
                    if r.type in ("MessageNew", "MessageAppend")]

        def status():
            with rich.imap() as other:
                return other.status("INBOX")["unseen"]

        assert step("APPEND INBOX", SMALL) == [status()] == [1]
        assert step("APPEND INBOX (\\Seen)", SMALL) == [status()] == [1]
        assert step("APPEND INBOX", SMALL, b"", SMALL) == [3, 3]
        assert status() == 3
        imap.ok("SELECT INBOX")
        imap.ok("STORE 1 +FLAGS (\\Seen)")
        rich.take()
        assert step("COPY 1:3 INBOX") == [status()] * 3 == [3] * 3
        rich.deliver(SMALL)
        assert only(rich)[UNSEEN] == status() == 4
        imap.ok("NOOP")
        imap.ok("STORE 1:* +FLAGS (\\Deleted)")
        imap.ok("EXPUNGE")
        rich.take()
        assert step("APPEND INBOX", SMALL) == [status()] == [1]


def test_doveadm_save(rich):
    rich.dovecot.doveadm("save", "-u", rich.user, "-m", "INBOX",
                         input=SMALL.decode())
    data = only(rich, "MessageAppend")
    assert content(data) == SMALL
    assert data[HEADERS]["subject"] == "Small"
    assert "envelope" not in data


def test_a_reload_changes_what_is_looked_up(private):
    dovecot, configuration, path = private()
    mail = Mail(dovecot, configuration.receiver, path, "reload@example.org")
    mail.deliver(SMALL)
    assert not OPTIONAL & set(only(mail))
    configuration.endpoints["only"].update(
        parameters='{"unseen", "messageContent"}', content_part='"body"')
    configuration.apply()
    mail.deliver(SMALL)
    data = only(mail)
    assert (data[UNSEEN], data["messageContent"]) == (2, "One line.\r\n")
    assert OPTIONAL & set(data) == {UNSEEN, "messageContent"}

