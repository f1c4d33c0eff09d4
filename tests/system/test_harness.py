"""What harness.dovecot promises of a Dovecot, each feature once and without
mailhook: a test elsewhere that fails then fails because of mailhook."""

import imaplib
import socket
import ssl
import time

import pytest

from harness.clients import message
from harness.dialect import DIALECT, Namespace, QuotaRoot, User
from harness.dovecot import MAIL_UID, SERVER_NAME, Dovecot

BEFORE = """\
require ["fileinto", "mailbox"];
if header :is "Subject" "Everybody" { fileinto :create "ForAll"; stop; }
"""
MINE = """\
require ["fileinto", "mailbox"];
if header :is "Subject" "Mine" { fileinto :create "Mine"; }
"""
ON_COPY = """\
require ["imap4flags"];
addflag "$Sieved";
"""


@pytest.fixture(scope="module")
def rich():
    with Dovecot(
            plugin=False,
            protocols=("imap", "pop3", "lmtp", "submission", "sieve"),
            users=[User("small", MAIL_UID, fields=DIALECT.user_quota(
                        messages=1)),
                   User("actor", MAIL_UID), User("owner", MAIL_UID)],
            master_users="boss-pass", acl=True, metadata=True,
            quota=[QuotaRoot(storage="100K", messages=20, grace="0"),
                   QuotaRoot("Other", storage="1G", hidden=True)],
            sieve=BEFORE, imapsieve={"Spam": ON_COPY}, hibernate="1s",
            tls=["other.example.org"], namespaces=[
                Namespace("public", type="public", prefix="Public/",
                          path="{mail}/public", subscriptions=False),
                Namespace("shared", type="shared", prefix="shared/{owner}/",
                          path="{mail}/{owner}/sdbox", list="children",
                          subscriptions=False)]) as one:
        yield one


def test_quota(rich):
    with rich.imap("actor") as imap:
        text = b"".join(imap.ok("GETQUOTAROOT INBOX"))
        assert b'"User quota" (STORAGE 0 100 MESSAGE 0 20)' in text
        assert b"Other" not in text
        imap.no("APPEND INBOX", message(body="x" * 70 + "\n") * 2000)
    with rich.imap("small") as imap:
        imap.append("INBOX", message())
        imap.no("APPEND INBOX", message())


def test_acl_and_shared_mailboxes(rich):
    with rich.imap("actor") as imap:
        imap.no("SELECT shared/owner/INBOX")
    with rich.imap("owner") as imap:
        imap.append("INBOX", message())
        imap.ok("SETACL INBOX actor lrswi")
    with rich.imap("actor") as imap:
        imap.ok("SELECT shared/owner/INBOX")
        assert b"shared/owner" in \
            b"".join(imap.ok('LIST "" "shared/*"'))


def test_metadata(rich):
    with rich.imap("owner") as imap:
        imap.ok('SETMETADATA INBOX (/private/comment "mine")')
        assert b"mine" in b"".join(
            imap.ok('GETMETADATA INBOX "/private/comment"'))


def test_master_users(rich):
    imap = imaplib.IMAP4("127.0.0.1", rich.ports["imap"])
    imap.login("owner*boss", "boss-pass")
    imap.logout()


def test_sieve(rich):
    rich.sieve_script("owner", MINE)
    with rich.lmtp() as lmtp:
        lmtp.deliver(message("Everybody"), "owner")
        lmtp.deliver(message("Mine"), "owner")
    with rich.imap("owner") as imap:
        assert imap.status("ForAll")["messages"] == 1
        assert imap.status("Mine")["messages"] == 1


def test_imapsieve(rich):
    with rich.imap("owner") as imap:
        imap.ok("CREATE Spam")
        imap.append("Spam", message())
        imap.ok("SELECT Spam")
        assert "$Sieved" in imap.fetch(1)["flags"]


def test_hibernation(rich):
    with rich.imap("owner") as imap:
        imap.ok("SELECT INBOX")
        imap.raw.send(b"x IDLE\r\n")
        imap.raw.readline()
        end = time.monotonic() + 30
        while "imap-hibernate" not in \
                rich.doveadm("service", "status", "imap-hibernate").stdout \
                or "process_count: 0" in rich.doveadm(
                    "service", "status", "imap-hibernate").stdout:
            assert time.monotonic() < end
            time.sleep(0.2)
        imap.raw.send(b"DONE\r\n")
        while not imap.raw.readline().startswith(b"x OK"):
            pass
        imap.ok("NOOP")


@pytest.mark.parametrize("protocol, banner", [
    ("submission", b"220 "), ("sieve", b'"IMPLEMENTATION"')])
def test_other_protocols(rich, protocol, banner):
    with socket.create_connection(("127.0.0.1", rich.ports[protocol]),
                                  20) as one:
        assert one.recv(1000).startswith(banner)


@pytest.mark.parametrize("name", [SERVER_NAME, "other.example.org"])
def test_tls_names(rich, name):
    context = ssl.create_default_context(
        cafile=rich.top / "etc" / f"{name}.pem")
    with socket.create_connection(("127.0.0.1", rich.ports["imaps"]),
                                  20) as plain:
        with context.wrap_socket(plain, server_hostname=name) as one:
            assert one.recv(100).startswith(b"* OK")


@pytest.mark.parametrize("driver, found", [
    ("mdbox", "mdbox/storage/m.1"), ("maildir", "maildir/cur"),
    ("sdbox", "sdbox/mailboxes/INBOX/dbox-Mails/u.1")])
def test_mail_drivers(driver, found):
    with Dovecot(plugin=False, mail_driver=driver) as one:
        with one.imap("someone@example.org") as imap:
            imap.append("INBOX", message())
        assert (one.top / "mail" / "someone@example.org" / found).exists()
