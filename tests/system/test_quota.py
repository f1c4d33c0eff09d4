"""Quotas: what is refused, what has room again, what was changed. Figures are
compared with what IMAP answers in the same test."""

import itertools
import os
import re
import signal
import smtplib
import subprocess
import time
from pathlib import Path

import pytest

from conftest import Configuration
from harness.clients import message
from harness.dialect import (DIALECT, SERIES, Namespace, QuotaRoot, User,
                             block)
from harness.dovecot import MAIL_UID, Dovecot, let_in
from harness.expect import Mail, mailbox_url, settled

LINE = "A line of text, forty octets in length.\n"
SMALL = message("Small", "One line.\n")
BIG = message("Big", LINE * 1000)        # 41 KiB
MIDDLE = message("Middle", LINE * 700)   # 29 KiB
SIEVE = """\
require ["fileinto", "mailbox"];
if header :is "Subject" "Filed" { fileinto :create "Filed"; }
"""

_user = itertools.count(1)


def serve(receiver, endpoint=None, **options):
    configuration = Configuration(receiver)
    path = configuration.add("quota", **(endpoint or {}))
    dovecot = Dovecot(config=configuration.text(), **options)
    configuration.dovecot = dovecot
    return dovecot, path


@pytest.fixture(scope="module")
def server(receiver):
    """100 KiB and 10 messages; deliveries may end 20 KiB above, and in Spare
    there is more room."""
    dovecot, path = serve(
        receiver, sieve=True,
        quota=[QuotaRoot(storage="100K", messages=10, grace="20K")],
        extra=DIALECT.more_quota("Spare", "50K") +
        DIALECT.autoexpunge("Old", 1) + "lmtp_rcpt_check_quota = yes\n")
    with dovecot:
        yield dovecot, path


class Quota(Mail):
    """A Mail that knows quotas."""

    def __init__(self, dovecot, receiver, path, user=None):
        super().__init__(dovecot, receiver, path,
                         user or f"quota{next(_user)}@example.org")

    def figures(self, imap=None, root="User quota"):
        """The parameters that an event must have, by IMAP's answer."""
        if imap is None:
            with self.imap() as one:
                return self.figures(one, root)
        text = b"".join(imap.ok(f'GETQUOTA "{root}"')).decode()
        data = {"_quotaRoot": root}
        for name, used, limit in re.findall(r"([A-Z]+) (\d+) (\d+)", text):
            if int(limit) >= 2 ** 32 - 1:
                continue  # how 2.4 says unlimited
            one, two = {"STORAGE": ("diskUsed", "diskQuota"),
                        "MESSAGE": ("messages", "maxMessages")}[name]
            data[one], data[two] = int(used), int(limit)
        return data

    def server_event(self, kind, client=None, **fields):
        data = self.data(None, client=client, uri=server_url(self.user),
                         **fields)
        del data["vnd.mailhook.mailbox"]
        return kind, data

    def box_event(self, kind, mailbox, client=None, opened=True, **fields):
        """QuotaExceed in a mailbox."""
        url = mailbox_url(self.user, mailbox)
        if opened:
            with self.dovecot.imap(self.user) as imap:
                valid = imap.status(mailbox)["uidvalidity"]
            url = mailbox_url(self.user, mailbox, valid)
            fields["_mailboxGuid"] = self.dovecot.mailbox_guid(self.user,
                                                               mailbox)
        return kind, self.data(mailbox, client=client, uri=url,
                               mailboxID=url, **fields)

    def settle(self, other=None):
        """Until all that follows from what has happened has come. Facts are
        judged in order: another user's are behind this one's."""
        other = Quota(self.dovecot, self.receiver, self.path, other)
        with other.imap() as imap:
            imap.ok("CREATE Box")
            imap.append("Box", BIG)
            imap.append("Box", BIG)
            imap.no("APPEND Box", BIG)
            imap.ok("SELECT Box")
            imap.ok("STORE 1:* +FLAGS.SILENT \\Deleted")
            imap.ok("EXPUNGE")
        self.receiver.wait(
            lambda: any(r.type == "QuotaWithin" for r in other.requests()),
            what="another user's QuotaWithin")

    def kinds(self, other=None):
        """The types that came; nothing more is under way."""
        self.settle(other)
        return [r.type for r in self.take()]


def same(request, event):
    kind, data = event
    assert {request.type: settled(request)} == {kind: data}


def server_url(user):
    return mailbox_url(user, "x")[:-1]


@pytest.fixture
def mail(server, receiver):
    return Quota(server[0], receiver, server[1])


def fill(imap, mailbox="INBOX"):
    """82 of the 100 KiB."""
    imap.append(mailbox, BIG)
    imap.append(mailbox, BIG)


def empty(imap, mailbox="INBOX"):
    imap.ok(f"SELECT {mailbox}")
    imap.ok("STORE 1:* +FLAGS.SILENT \\Deleted")
    imap.ok("EXPUNGE")


# QuotaExceed: refused


def test_append_that_is_refused(mail):
    with mail.imap() as imap:
        fill(imap)
        assert [r.type for r in mail.take()] == ["MessageAppend"] * 2
        imap.no("APPEND INBOX", BIG)
        figures = mail.figures(imap)
        assert figures["diskUsed"] == 81 and figures["diskQuota"] == 100
        mail.expect(mail.box_event(
            "QuotaExceed", "INBOX", client=imap, _cause="append",
            _quotaResource="STORAGE", **figures))


def test_each_operation_that_is_refused(mail):
    with mail.imap() as imap:
        fill(imap)
        mail.take()
        for _ in range(3):
            imap.no("APPEND INBOX", BIG)
        assert mail.kinds() == ["QuotaExceed"] * 3


def test_message_count(mail):
    with mail.imap() as imap:
        for _ in range(10):
            imap.append("INBOX", SMALL)
        # Full is not exceeded.
        assert mail.kinds() == ["MessageAppend"] * 10
        imap.no("APPEND INBOX", SMALL)
        figures = mail.figures(imap)
        assert figures["messages"] == figures["maxMessages"] == 10
        mail.expect(mail.box_event(
            "QuotaExceed", "INBOX", client=imap, _cause="append",
            _quotaResource="MESSAGE", **figures))


def test_both_resources(mail):
    with mail.imap() as imap:
        fill(imap)
        for _ in range(8):
            imap.append("INBOX", SMALL)
        mail.take()
        imap.no("APPEND INBOX", BIG)
        [exceed] = mail.take()
        assert exceed.data["vnd.mailhook.quotaResource"] == "STORAGE MESSAGE"


def test_multiappend_leaves_nothing_but_one_event(mail):
    with mail.imap() as imap:
        imap.no("APPEND INBOX", BIG, b"", BIG, b"", BIG)
        figures = mail.figures(imap)
        assert figures["diskUsed"] == 0
        mail.expect(mail.box_event(
            "QuotaExceed", "INBOX", client=imap, _cause="append",
            _quotaResource="STORAGE", **figures))


def test_multiappend_too_many(mail):
    with mail.imap() as imap:
        parts = [SMALL] + [b"", SMALL] * 10
        imap.no("APPEND INBOX", *parts)
        [exceed] = mail.take()
        assert exceed.type == "QuotaExceed"
        assert exceed.data["vnd.mailhook.quotaResource"] == "MESSAGE"
        assert exceed.data["messages"] == 0


def test_catenate_of_unknown_size(mail):
    with mail.imap() as imap:
        fill(imap)
        mail.take()
        imap.ok("SELECT INBOX")
        print(imap.no('APPEND INBOX CATENATE (URL "/INBOX/;UID=1" '
                'URL "/INBOX/;UID=2/;SECTION=TEXT")'))
        [exceed] = mail.take()
        assert exceed.type == "QuotaExceed"
        assert exceed.data["vnd.mailhook.quotaResource"] == "STORAGE"
        assert exceed.data["vnd.mailhook.cause"] == "append"


def test_copy_that_fails_half_way(mail):
    with mail.imap() as imap:
        imap.ok("CREATE Archive")
        imap.append("INBOX", MIDDLE)
        imap.append("INBOX", MIDDLE)
        mail.take()
        imap.ok("SELECT INBOX")
        # The first would have fitted.
        imap.no("COPY 1:2 Archive")
        mail.expect(mail.box_event(
            "QuotaExceed", "Archive", client=imap, _cause="copy",
            _quotaResource="STORAGE", **mail.figures(imap)))
        imap.ok("COPY 1 Archive")
        assert [r.type for r in mail.take()] == ["MessageAppend"]


def test_move_needs_no_room(mail):
    with mail.imap() as imap:
        imap.ok("CREATE Archive")
        fill(imap)
        imap.no("APPEND INBOX", BIG)
        mail.take()
        imap.ok("SELECT INBOX")
        imap.ok("MOVE 1 Archive")
        # It frees none either.
        assert mail.kinds() == ["MessageAppend", "MessageExpunge"]


def refused(lmtp, mail, *recipients, sender="sender@example.net"):
    with pytest.raises(smtplib.SMTPException) as info:
        lmtp.raw.sendmail(sender, recipients, mail)
    return info.value


def test_delivery_that_is_refused(mail):
    with mail.imap() as imap:
        fill(imap)
        mail.take()
        with mail.dovecot.lmtp() as lmtp:
            refused(lmtp, BIG, mail.user)
            mail.expect(mail.box_event(
                "QuotaExceed", "INBOX", client=lmtp, process="lmtp",
                _cause="delivery", _quotaResource="STORAGE",
                **mail.figures(imap)))


def test_sieve_that_is_refused(mail):
    mail.dovecot.sieve_script(mail.user, SIEVE)
    with mail.imap() as imap:
        fill(imap)
        mail.take()
        with mail.dovecot.lmtp() as lmtp:
            # Sieve's keep, and then INBOX as a last resort: one operation.
            refused(lmtp, BIG, mail.user)
            mail.expect(mail.box_event(
                "QuotaExceed", "INBOX", client=lmtp, process="lmtp",
                _cause="sieve", _quotaResource="STORAGE",
                **mail.figures(imap)))
        with mail.dovecot.lmtp() as lmtp:
            refused(lmtp, message("Filed", LINE * 1000), mail.user)
            created, exceed = mail.take()
            assert created.type == "MailboxCreate"
            same(exceed, mail.box_event(
                "QuotaExceed", "Filed", client=lmtp, process="lmtp",
                _cause="sieve", _quotaResource="STORAGE",
                **mail.figures(imap)))


def test_two_recipients_are_two_deliveries(mail, server, receiver):
    other = Quota(server[0], receiver, server[1])
    for one in (mail, other):
        with one.imap() as imap:
            fill(imap)
        one.take()
    with mail.dovecot.lmtp() as lmtp:
        lmtp.raw.ehlo_or_helo_if_needed()
        for command in ("MAIL FROM:<s@example.net>",
                        f"RCPT TO:<{mail.user}>", f"RCPT TO:<{other.user}>"):
            assert lmtp.raw.docmd(command)[0] == 250
        lmtp.raw.docmd("DATA")
        lmtp.raw.send(BIG + b".\r\n")
        assert [lmtp.raw.getreply()[0] for _ in range(2)] == [552, 552]
        refused(lmtp, BIG, mail.user)
    assert mail.kinds() == ["QuotaExceed"] * 2
    assert other.kinds() == ["QuotaExceed"]


def test_delivery_within_the_grace(mail):
    with mail.imap() as imap:
        fill(imap)
        mail.take()
        port = mail.deliver(MIDDLE)
        figures = mail.figures(imap)
        assert figures["diskUsed"] > figures["diskQuota"] == 100
        new, exceed = mail.take()
        assert new.type == "MessageNew"
        same(exceed, mail.box_event(
            "QuotaExceed", "INBOX", client=port, process="lmtp",
            _cause="delivery", _quotaResource="STORAGE", **figures))


def test_refused_at_rcpt(mail):
    with mail.imap() as imap:
        fill(imap)
        mail.deliver(MIDDLE)
        assert [r.type for r in mail.take()][2:] == [
            "MessageNew", "QuotaExceed"]
        with mail.dovecot.lmtp() as lmtp:
            why = refused(lmtp, SMALL, mail.user)
            assert isinstance(why, smtplib.SMTPRecipientsRefused)
            [exceed] = mail.expect(mail.server_event(
                "QuotaExceed", client=lmtp, process="lmtp",
                _cause="delivery", _quotaResource="STORAGE",
                **mail.figures(imap)))


def test_doveadm_save_that_is_refused(mail):
    with mail.imap() as imap:
        fill(imap)
        mail.take()
        done = mail.dovecot.doveadm("save", "-u", mail.user, check=False,
                                    input=BIG.decode())
        assert done.returncode != 0
        mail.expect(mail.box_event(
            "QuotaExceed", "INBOX", process="doveadm", _cause="append",
            _quotaResource="STORAGE", **mail.figures(imap)))


def test_a_mailbox_with_more_room(mail):
    with mail.imap() as imap:
        imap.ok("CREATE Spare")
        fill(imap)
        mail.take()
        imap.no("APPEND INBOX", BIG)
        imap.ok("APPEND Spare", BIG)
        assert [r.type for r in mail.take()] == ["QuotaExceed",
                                                 "MessageAppend"]
        imap.no("APPEND Spare", BIG)
        # The root's own limit, as IMAP tells it of Spare too.
        figures = mail.figures(imap)
        assert (figures["diskUsed"], figures["diskQuota"]) == (121, 100)
        mail.expect(mail.box_event(
            "QuotaExceed", "Spare", client=imap, _cause="append",
            _quotaResource="STORAGE", **figures))


# QuotaWithin


def test_expunge_makes_room(mail):
    with mail.imap() as imap:
        fill(imap)
        imap.no("APPEND INBOX", BIG)
        mail.take()
        imap.ok("SELECT INBOX")
        imap.ok("STORE 1 +FLAGS.SILENT \\Deleted")
        imap.ok("EXPUNGE")
        mail.wait(3)
        figures = mail.figures(imap)
        assert figures["diskUsed"] == 41
        trash, expunge, within = mail.take()
        assert [trash.type, expunge.type] == ["MessageTrash",
                                              "MessageExpunge"]
        same(within, mail.server_event(
            "QuotaWithin", client=imap, _cause="expunge",
            _quotaResource="STORAGE", **figures))
        assert within.data["vnd.mailhook.session"] == \
            expunge.data["vnd.mailhook.session"]
        # Once.
        imap.ok("STORE 1 +FLAGS.SILENT \\Deleted")
        imap.ok("EXPUNGE")
        assert mail.kinds() == ["MessageTrash", "MessageExpunge"]


def test_expunge_without_an_exceeded_quota(mail):
    with mail.imap() as imap:
        fill(imap)
        empty(imap)
        assert mail.kinds() == ["MessageAppend", "MessageAppend",
                                "MessageTrash", "MessageExpunge"]


def test_a_smaller_message_that_fits_is_no_more_room(mail):
    with mail.imap() as imap:
        fill(imap)
        imap.no("APPEND INBOX", BIG)
        imap.append("INBOX", SMALL)
    with mail.imap():
        pass
    assert mail.kinds() == ["MessageAppend"] * 2 + ["QuotaExceed",
                                                    "MessageAppend"]


@pytest.mark.parametrize("how", ["close", "pop3", "doveadm", "delete"])
def test_other_ways_to_make_room(mail, how):
    box = "INBOX" if how == "pop3" else "Box"
    with mail.imap() as imap:
        if box != "INBOX":
            imap.ok(f"CREATE {box}")
        fill(imap, box)
        imap.no(f"APPEND {box}", BIG)
        mail.take()
        if how == "close":
            imap.ok("SELECT Box")
            imap.ok("STORE 1 +FLAGS.SILENT \\Deleted")
            imap.ok("CLOSE")
        elif how == "delete":
            imap.ok("DELETE Box")
    if how == "pop3":
        pop3 = mail.dovecot.pop3(mail.user)
        pop3.raw.dele(1)
        pop3.quit()
    elif how == "doveadm":
        mail.dovecot.doveadm("expunge", "-u", mail.user, "mailbox", "Box",
                             "1")
    mail.settle()
    came = mail.take()
    within = came[-1]
    assert [r.type for r in came].count("QuotaWithin") == 1
    assert within.type == "QuotaWithin"
    assert within.data["vnd.mailhook.cause"] == {
        "close": "close", "pop3": "pop3", "doveadm": "expunge",
        "delete": "delete"}[how]
    assert within.data["diskUsed"] == mail.figures()["diskUsed"]
    assert within.data["service"] == {"pop3": "pop", "doveadm": "admincli"} \
        .get(how, "imap")


def test_autoexpunge_makes_room(mail):
    with mail.imap() as imap:
        imap.ok("CREATE Old")
        fill(imap, "Old")
        imap.no("APPEND INBOX", BIG)
        mail.take()
    mail.settle()
    expire, within = mail.take()
    assert expire.type == "MessageExpire"
    same(within, mail.server_event(
        "QuotaWithin", client=imap, _cause="autoexpunge",
        _quotaResource="STORAGE", **mail.figures()))


def test_room_again_after_the_grace(mail):
    with mail.imap() as imap:
        fill(imap)
        imap.append("INBOX", SMALL)
        mail.deliver(MIDDLE)
        mail.take()
        imap.ok("SELECT INBOX")
        imap.ok("STORE 3 +FLAGS.SILENT \\Deleted")
        imap.ok("EXPUNGE")
        # Less, but still beyond.
        assert mail.kinds() == ["MessageTrash", "MessageExpunge"]
        imap.ok("STORE 1 +FLAGS.SILENT \\Deleted")
        imap.ok("EXPUNGE")
        assert mail.kinds() == ["MessageTrash", "MessageExpunge",
                                "QuotaWithin"]


# Several roots


def test_two_roots(receiver):
    dovecot, path = serve(receiver, quota=[
        QuotaRoot("Octets", storage="100K"), QuotaRoot("Count", messages=3),
        QuotaRoot("Secret", storage="1G", hidden=True)])
    with dovecot:
        mail = Quota(dovecot, receiver, path)
        with mail.imap() as imap:
            fill(imap)
            mail.take()
            imap.no("APPEND INBOX", BIG)
            mail.expect(mail.box_event(
                "QuotaExceed", "INBOX", client=imap, _cause="append",
                _quotaResource="STORAGE", **mail.figures(imap, "Octets")))
            imap.append("INBOX", SMALL)
            imap.no("APPEND INBOX", SMALL)
            append, exceed = mail.take()
            assert append.type == "MessageAppend"
            figures = mail.figures(imap, "Count")
            assert figures == {"_quotaRoot": "Count", "messages": 3,
                               "maxMessages": 3}
            same(exceed, mail.box_event(
                "QuotaExceed", "INBOX", client=imap, _cause="append",
                _quotaResource="MESSAGE", **figures))
            imap.ok("SELECT INBOX")
            imap.ok("STORE 3 +FLAGS.SILENT \\Deleted")
            imap.ok("EXPUNGE")
            # Few octets, but both have room that they had not.
            mail.wait(4)
            came = mail.take()
            assert sorted(r.data["vnd.mailhook.quotaRoot"]
                          for r in came[2:]) == ["Count", "Octets"]
            assert [r.type for r in came] == [
                "MessageTrash", "MessageExpunge", "QuotaWithin",
                "QuotaWithin"]


# QuotaChange


@pytest.fixture
def changing(receiver):
    """A server whose users' limits change: limits(name, storage=...)."""
    # 2.4 prefers what the root itself says to what userdb says of all.
    dovecot, path = serve(receiver, users=[], quota=[QuotaRoot(grace="0")],
                          hibernate="1s")
    users = {}

    def limits(name, **given):
        users[name] = User(name, MAIL_UID,
                           fields=DIALECT.user_quota(**given))
        dovecot.change_users(users.values())

    with dovecot:
        yield dovecot, path, limits


def test_limits_that_change_between_sessions(changing, receiver):
    dovecot, path, limits = changing
    limits("one", storage="100K")
    mail = Quota(dovecot, receiver, path, "one")
    with mail.imap() as imap:
        fill(imap)
        imap.no("APPEND INBOX", BIG)
    with mail.imap():
        pass  # the same limits
    assert [r.type for r in mail.take()] == ["MessageAppend"] * 2 + [
        "QuotaExceed"]
    old = mail.imap()
    limits("one", storage="300K")
    with mail.imap() as imap:
        mail.wait(2)
        figures = mail.figures(imap)
        assert (figures["diskUsed"], figures["diskQuota"]) == (81, 300)
        mail.expect(
            mail.server_event("QuotaChange", client=imap, _cause="login",
                              **figures),
            mail.server_event("QuotaWithin", client=imap, _cause="login",
                              _quotaResource="STORAGE", **figures))
    # Who began before knows no better.
    old.no("APPEND INBOX", BIG)
    old.ok("SELECT INBOX")
    old.ok("STORE 1 +FLAGS.SILENT \\Deleted")
    old.ok("EXPUNGE")
    mail.wait(4)
    old.logout()
    with mail.imap():
        pass
    assert [r.type for r in mail.take()] == [
        "QuotaExceed", "MessageTrash", "MessageExpunge", "QuotaWithin"]
    # Lowered, and seen by a delivery; no more than that.
    limits("one", storage="200K", messages=50)
    port = mail.deliver(SMALL)
    mail.wait(2)
    new, change = mail.take()
    assert new.type == "MessageNew"
    same(change, mail.server_event(
        "QuotaChange", client=port, process="lmtp", _cause="delivery",
        **mail.figures()))
    # Unlimited: nothing to compare with, nothing wrapped.
    limits("one")
    with mail.imap() as imap:
        mail.wait(1)
        mail.expect(mail.server_event("QuotaChange", client=imap,
                                      _cause="login",
                                      _quotaRoot="User quota"))
        fill(imap)
        fill(imap)
    limits("one", storage="100K")
    with mail.imap() as imap:
        mail.wait(5)
    assert [r.type for r in mail.take()] == ["MessageAppend"] * 4 + [
        "QuotaChange"]


def wait_for_processes(dovecot, service, count):
    end = time.monotonic() + 60
    while f"process_count: {count}\n" not in dovecot.doveadm(
            "service", "status", service).stdout:
        assert time.monotonic() < end, service
        time.sleep(0.1)


def test_hibernated_session_knows_no_better(changing, receiver):
    dovecot, path, limits = changing
    limits("three", storage="100K")
    mail = Quota(dovecot, receiver, path, "three")
    with mail.imap() as imap:
        fill(imap)
        imap.ok("SELECT INBOX")
        imap.raw.send(b"x IDLE\r\n")
        while b"idling" not in imap.raw.readline():
            pass
        wait_for_processes(dovecot, "imap-hibernate", 1)
        wait_for_processes(dovecot, "imap", 0)
        limits("three", storage="300K")
        mail.deliver(SMALL)
        mail.wait(4)
        assert [r.type for r in mail.take()] == ["MessageAppend"] * 2 + [
            "MessageNew", "QuotaChange"]
        imap.raw.send(b"DONE\r\n")
        while not imap.raw.readline().startswith(b"x OK"):
            pass
        imap.ok("STORE 1 +FLAGS.SILENT \\Deleted")
        imap.ok("EXPUNGE")
        assert mail.figures(imap)["diskQuota"] == 100
    limits("four", storage="100K")
    assert mail.kinds("four") == ["MessageTrash", "MessageExpunge"]


def test_without_sieve_a_delivery_is_a_delivery(changing, receiver):
    dovecot, path, limits = changing
    limits("two", storage="100K")
    mail = Quota(dovecot, receiver, path, "two")
    with mail.imap() as imap:
        fill(imap)
        mail.take()
        with dovecot.lmtp() as lmtp:
            refused(lmtp, BIG * 2, mail.user)
            mail.expect(mail.box_event(
                "QuotaExceed", "INBOX", client=lmtp, process="lmtp",
                _cause="delivery", _quotaResource="STORAGE",
                **mail.figures(imap)))


# Must not


def test_without_the_quota_plugin(receiver, dovecot, shared):
    mail = Quota(dovecot, receiver, shared[1])
    with mail.imap() as imap:
        for _ in range(4):
            imap.append("INBOX", BIG)
        empty(imap)
        assert [r.type for r in mail.take()] == ["MessageAppend"] * 4 + [
            "MessageTrash", "MessageExpunge"]
    assert "fact.quota" not in "".join(
        path.read_text("utf-8", "replace")
        for path in dovecot.state.glob("journal*")
        if mail.user in path.read_text("utf-8", "replace"))


def answers(dovecot, user):
    """What clients are told in each of the refusals."""
    said = []
    with dovecot.imap(user) as imap:
        imap.ok("CREATE Archive")
        fill(imap)
        said.append(imap.no("APPEND INBOX", BIG))
        said.append(imap.no("APPEND INBOX", BIG, b"", BIG))
        imap.ok("SELECT INBOX")
        said.append(imap.no("COPY 1:2 Archive"))
        said.append(imap.no("COPY 1:2 Nowhere"))
        said.append(imap.no("APPEND Nowhere", SMALL))
    with dovecot.lmtp() as lmtp:
        said.append(refused(lmtp, BIG, user).args)
    with dovecot.lmtp() as lmtp:
        lmtp.deliver(MIDDLE, user)
    with dovecot.lmtp() as lmtp:
        said.append(refused(lmtp, SMALL, user).args)
    return re.sub(r"\([\d.]+ \+ .*? secs\)|<[^>]*>", "", str(said))


def test_clients_are_told_the_same(server, receiver):
    user = f"quota{next(_user)}@example.org"
    with Dovecot(plugin=False, sieve=True,
                 quota=[QuotaRoot(storage="100K", messages=10, grace="20K")],
                 extra="lmtp_rcpt_check_quota = yes\n") as plain:
        expected = answers(plain, user)
    assert answers(server[0], user) == expected
    assert expected.count("OVERQUOTA") == 3


# Once


def test_daemon_killed_between(receiver):
    dovecot, path = serve(receiver, daemon="foreground",
                          quota=[QuotaRoot(storage="100K")])
    try:
        dovecot.start_daemon()
        dovecot.start()
        mail = Quota(dovecot, receiver, path, "killed")
        with mail.imap() as imap:
            fill(imap)
            imap.no("APPEND INBOX", BIG)
            assert mail.kinds() == ["MessageAppend"] * 2 + ["QuotaExceed"]
            dovecot.stop_daemon(signal.SIGKILL)
            empty(imap)
            for _ in range(3):
                # At some instruction; twice perhaps before anything is sent.
                dovecot.start_daemon()
                dovecot.stop_daemon(signal.SIGKILL)
            dovecot.start_daemon()
            mail.settle()
            dovecot.stop_daemon(signal.SIGKILL)
            dovecot.start_daemon()
            mail.settle()
            came = {r.id: r.type for r in mail.requests()}
            assert list(came.values()).count("QuotaWithin") == 1
            assert list(came.values()).count("QuotaChange") == 0
    finally:
        dovecot.remove()


def test_who_wants_only_what_is_derived(receiver):
    """QuotaExceed and the figures are written for the daemon, and nobody
    gets them."""
    dovecot, path = serve(receiver, {"events": '{"QuotaWithin"}'},
                          quota=[QuotaRoot(storage="100K")])
    with dovecot:
        mail = Quota(dovecot, receiver, path)
        with mail.imap() as imap:
            for _ in range(2):
                fill(imap)
                imap.no("APPEND INBOX", BIG)
                empty(imap)
        mail.settle()
        mail.wait(2)
        assert {r.type for r in receiver.answered(path)} == {"QuotaWithin"}
        assert [r.data["user"] for r in mail.requests()] == [mail.user] * 2


# Other owners, other causes


def test_somebody_elses_quota(receiver):
    """A shared mailbox counts for its owner, whoever writes into it."""
    dovecot, path = serve(
        receiver, users=[User("actor", MAIL_UID), User("owner", MAIL_UID)],
        quota=[QuotaRoot(storage="100K", grace="0")], acl=True,
        namespaces=[Namespace(
            "shared", type="shared", prefix="shared/{owner}/",
            path="{mail}/{owner}/sdbox", list="children",
            subscriptions=False)])
    with dovecot:
        owner = Quota(dovecot, receiver, path, "owner")
        with owner.imap() as imap, dovecot.imap("actor") as other:
            fill(imap)
            imap.ok("SETACL INBOX actor lrswipte")
            owner.take()
            other.no("APPEND shared/owner/INBOX", BIG)
            kind, data = owner.box_event(
                "QuotaExceed", "INBOX", client=other, user="actor",
                _owner="owner", _cause="append", _quotaResource="STORAGE",
                **owner.figures(imap))
            owner.expect((kind, data))
            other.ok("SELECT shared/owner/INBOX")
            other.ok("STORE 1 +FLAGS.SILENT \\Deleted")
            other.ok("EXPUNGE")
            owner.wait(3)
            came = owner.take()
            assert [r.type for r in came][:2] == ["MessageTrash",
                                                  "MessageExpunge"]
            same(came[2], owner.server_event(
                "QuotaWithin", client=other, user="actor", _owner="owner",
                _cause="expunge", _quotaResource="STORAGE",
                **owner.figures(imap)))


SHIM = """\
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <stdarg.h>
#include <stdlib.h>
#include <unistd.h>

#define OPEN(name) \
int name(const char *path, int flags, ...) \
{ \
	int (*real)(const char *, int, ...) = dlsym(RTLD_NEXT, #name); \
	va_list args; \
	int mode; \
	va_start(args, flags); \
	mode = (flags & O_CREAT) ? va_arg(args, int) : 0; \
	va_end(args); \
	if ((flags & O_CREAT) && strstr(path, "/maildir/tmp/") && \
	    access(getenv("FULL"), F_OK) == 0) { \
		errno = EDQUOT; \
		return -1; \
	} \
	return real(path, flags, mode); \
}
OPEN(open)
OPEN(open64)
"""


@pytest.mark.skipif("MAILHOOK_SANITIZE" in os.environ,
                    reason="the sanitizers' library must be the first")
def test_file_system_out_of_quota(receiver, tmp_path):
    """There may be no quota plugin at all."""
    shim, full = tmp_path / "shim.so", tmp_path / "full"
    (tmp_path / "shim.c").write_text(SHIM)
    subprocess.run(["gcc", "-shared", "-fPIC", "-o", shim,
                    tmp_path / "shim.c", "-ldl"], check=True)
    let_in(tmp_path)
    imap = next(Path("/usr").glob("lib*/dovecot/imap"))
    dovecot, path = serve(
        receiver, mail_driver="maildir", extra=block("service imap", {
            "executable": f"/usr/bin/env LD_PRELOAD={shim} FULL={full} "
            f"{imap}"}))
    with dovecot:
        mail = Quota(dovecot, receiver, path)
        with mail.imap() as imap:
            imap.append("INBOX", SMALL)
            mail.take()
            full.touch()
            status = imap.no("APPEND INBOX", SMALL)
            assert "OVERQUOTA" in status
            mail.expect(mail.box_event("QuotaExceed", "INBOX", client=imap,
                                       opened=True, _cause="append"))
            full.unlink()
            imap.append("INBOX", SMALL)
            assert [r.type for r in mail.take()] == ["MessageAppend"]


# What differs


@pytest.mark.skipif(SERIES != "2.3", reason="2.4 has no SETQUOTA")
def test_setquota(receiver):
    """Dovecot writes what the admin says into a dict, from which userdb
    gives it to sessions that begin later: with the first of them it is a
    change."""
    def admin(storage):
        return [User("admin", MAIL_UID, fields={
            "admin": "y", "quota_rule": f"*:storage={storage}K"})]

    # Without a namespace for the root, SETQUOTA crashes 2.3.19.
    dovecot, path = serve(
        receiver, quota=[QuotaRoot("User quota:ns=", storage="1K")],
        users=admin(100),
        extra="plugin {\n  quota_set = dict:file:%h/limits\n}\n")
    with dovecot:
        mail = Quota(dovecot, receiver, path, "admin")
        with mail.imap() as imap:
            fill(imap)
            imap.no("APPEND INBOX", BIG)
            mail.take()
            imap.ok('SETQUOTA "User quota" (STORAGE 200)')
            assert mail.figures(imap)["diskQuota"] == 100
            assert mail.take() == []
        limits = (dovecot.top / "mail/admin/limits").read_text().split()
        dovecot.change_users(admin(int(limits[-1])))
        with mail.imap() as imap:
            mail.wait(2)
            figures = mail.figures(imap)
            assert figures["diskQuota"] == 200
            mail.expect(
                mail.server_event("QuotaChange", client=imap, _cause="login",
                                  **figures),
                mail.server_event("QuotaWithin", client=imap, _cause="login",
                                  _quotaResource="STORAGE", **figures))


@pytest.mark.skipif(SERIES != "2.4", reason="Dovecot 2.4's")
def test_limits_of_mailboxes(receiver):
    dovecot, path = serve(
        receiver, quota=[QuotaRoot(storage="100K")],
        extra="quota_mailbox_count = 3\n"
        "namespace inbox {\n  mailbox Few {\n"
        "    quota_mailbox_message_count = 2\n  }\n}\n")
    with dovecot:
        mail = Quota(dovecot, receiver, path)
        with mail.imap() as imap:
            imap.ok("CREATE Few")
            imap.append("Few", SMALL)
            imap.append("Few", SMALL)
            mail.take()
            imap.no("APPEND Few", SMALL)
            mail.expect(mail.box_event(
                "QuotaExceed", "Few", client=imap, _cause="append",
                _quotaResource="MESSAGE", messages=2, maxMessages=2))
            # Some of those that come by themselves count, too.
            for name in "ABCD":
                if imap.command(f"CREATE {name}")[0].startswith("NO"):
                    break
                mail.take()
            mail.expect(mail.box_event(
                "QuotaExceed", name, client=imap, opened=False,
                _cause="create", _quotaResource="MAILBOX"))
