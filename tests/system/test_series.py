"""Where Dovecot 2.3 and 2.4 differ in what mailhook sees, and where they must
not: settings, what userdb may change, server names, REPLACE."""

import re
import socket
import ssl

import pytest

from harness import build
from harness.clients import PASSWORD, message
from harness.dialect import DIALECT, SERIES, User, block
from harness.dovecot import MAIL_UID, SERVER_NAME, Dovecot
from harness.expect import TRANSACTION, Mail

SMALL = message("Small", "One line.\n")
NEW = message("New", "Another line.\n")
USER = "someone@example.org"

only_24 = pytest.mark.skipif(SERIES == "2.3", reason="not in Dovecot 2.3")


def guid(mail, mailbox):
    return mail.dovecot.mailbox_guid(mail.user, mailbox)


def warnings(dovecot):
    return re.findall(r"Warning: mailhook: (.*)", dovecot.log())


# -- REPLACE


def replaced(imap):
    """(uidvalidity, uid) of the last REPLACE."""
    found = re.search(rb"\[APPENDUID (\d+) (\d+)\]", b"".join(imap.untagged))
    return int(found[1]), int(found[2])


@only_24
@pytest.mark.parametrize("target", ["INBOX", "Drafts"])
def test_replace_is_append_then_expunge_of_one_transaction(mail, target):
    with mail.imap() as imap:
        imap.ok("CREATE Drafts")
        source, _ = imap.append("INBOX", SMALL)
        imap.append("INBOX", SMALL)
        mail.take()
        # With modseqs tracked from here on: the expunge raises the highest.
        imap.ok("SELECT INBOX (CONDSTORE)")
        imap.ok(f"REPLACE 2 {target} (\\Draft)", NEW)
        valid, uid = replaced(imap)
        imap.ok(f"SELECT {target}")
        stored = imap.fetch(uid)
        both = target == "INBOX"
        append, expunge = mail.expect(
            mail.message_event(
                "MessageAppend", target, valid, uid, guid(mail, target),
                client=imap, messageSize=stored["size"],
                modseq=stored["modseq"], uidnext=uid + 1,
                messages=3 if both else 1, flagNames="\\Draft",
                _cause="replace"),
            mail.mailbox_event(
                "MessageExpunge", "INBOX", source, guid(mail, "INBOX"),
                client=imap, uidset="2", uidnext=4 if both else 3,
                messages=2 if both else 1, _cause="replace"))
        assert append.data[TRANSACTION] == expunge.data[TRANSACTION]


@only_24
def test_a_refused_replace_is_no_event(mail):
    with mail.imap() as imap:
        imap.append("INBOX", SMALL)
        mail.take()
        imap.ok("SELECT INBOX")
        imap.no("REPLACE 1 Nowhere", NEW)
        imap.ok("NOOP")
    assert mail.take() == []


# -- the name the client asked for


def create_by_tls(dovecot, name, mailbox):
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    with socket.create_connection(
            ("127.0.0.1", dovecot.ports["imaps"]), 20) as plain, \
            context.wrap_socket(plain, server_hostname=name) as one, \
            one.makefile("rwb") as file:
        file.readline()
        for line in (f"a LOGIN {USER} {PASSWORD}", f"b CREATE {mailbox}",
                     "c LOGOUT"):
            file.write(f"{line}\r\n".encode())
            file.flush()
            while not (answer := file.readline()).startswith(
                    line[:2].encode()):
                assert answer, f"{line}: the connection was closed"
            assert answer.startswith(line[:2].encode() + b"OK"), answer


def test_server_domain_is_the_name_in_tls_where_dovecot_keeps_it(
        private, receiver):
    name = "imap.example.com"
    dovecot, _, path = private(tls=[name], protocols=("imap",))
    mail = Mail(dovecot, receiver, path, USER)
    create_by_tls(dovecot, name, "Asked")
    create_by_tls(dovecot, None, "Unasked")
    domains = [event.data["serverDomain"] for event in mail.take()]
    # 2.3 chooses the certificate by it and then forgets it.
    assert domains == [SERVER_NAME if SERIES == "2.3" else name, SERVER_NAME]


# -- settings


def create(dovecot, user, mailbox):
    with dovecot.imap(user) as imap:
        imap.ok(f"CREATE {mailbox}")


@pytest.fixture
def userdb(private, receiver):
    """A server where userdb gives USER these fields."""
    def make(**fields):
        dovecot, _, path = private(
            users=[User(USER, MAIL_UID, fields=fields)], protocols=("imap",))
        return dovecot, Mail(dovecot, receiver, path, USER)
    return make


def test_userdb_cannot_move_the_journal(userdb, tmp_path):
    dovecot, mail = userdb(mailhook_dir=str(tmp_path / "elsewhere"))
    create(dovecot, USER, "Box")
    assert [event.type for event in mail.take()] == ["MailboxCreate"]
    [warning] = warnings(dovecot)
    assert "mailhook_dir is one for the whole server" in warning
    assert str(tmp_path / "elsewhere") in warning


def test_userdb_may_choose_durability(userdb):
    dovecot, mail = userdb(mailhook_durability="power")
    create(dovecot, USER, "Box")
    assert [event.type for event in mail.take()] == ["MailboxCreate"]
    assert warnings(dovecot) == []


def test_nonsense_in_userdb_fails_no_login(userdb):
    dovecot, mail = userdb(mailhook_durability="often")
    create(dovecot, USER, "Box")
    assert [event.type for event in mail.take()] == ["MailboxCreate"]
    [warning] = warnings(dovecot)
    assert "mailhook_durability" in warning and "often" in warning


def plugin_setting(name, value):
    settings = {name: value}
    return block("plugin", settings) if SERIES == "2.3" else \
        f"{name} = {value}\n"


@pytest.fixture
def unstarted():
    """Makes servers for their dovecot.conf."""
    made = []

    def make(**options):
        made.append(Dovecot(**options))
        return made[-1]

    yield make
    for one in made:
        one.remove()


def doveconf(dovecot, *args, check=True):
    return dovecot._run(["doveconf", "-c", dovecot.conf, *args], check, 60)


@pytest.mark.parametrize("name, value", [
    ("mailhook_dir", "/var/lib/dovecot/elsewhere"),
    ("mailhook_durability", "power")])
def test_doveconf_knows_the_settings(unstarted, name, value):
    one = unstarted(extra=plugin_setting(name, value))
    key = f"plugin/{name}" if SERIES == "2.3" else name
    assert doveconf(one, "-h", key).stdout.strip() == value


def test_doveconf_refuses_nonsense_where_it_can(unstarted):
    one = unstarted(extra=plugin_setting("mailhook_durability", "often"))
    asked = doveconf(one, "-n", check=False)
    if SERIES == "2.3":
        assert asked.returncode == 0
    else:
        assert asked.returncode != 0
        assert "mailhook_durability" in asked.stderr


@only_24
def test_without_the_settings_module_mail_goes_on(private, receiver):
    dovecot, _, path = private(protocols=("imap",))
    mail = Mail(dovecot, receiver, path, USER)
    conf = dovecot.top / "bare.conf"
    conf.write_text(re.sub(r"(?m)^mailhook_.*\n", "",
                           dovecot.conf.read_text()))
    done = dovecot._run(
        ["unshare", "--mount", "sh", "-c",
         f"umount {build.STOCK_MODULES}/settings && exec doveadm -c {conf} "
         f"mailbox create -u {USER} Box"], True, 60, None,
        dovecot.environment)
    assert "found no libmailhook_settings.so" in done.stderr
    assert [event.type for event in mail.take()] == ["MailboxCreate"]


# -- mailhookctl check reads both series' lists


def add_to(protocol, *words):
    return block(f"protocol {protocol}", DIALECT.add_plugins(words))


PLAIN = block("protocol imap", {"mail_plugins": "notify"})
REFUSED = block("protocol imap", block("mail_plugins", {"mailhook": "no"}))


@pytest.mark.parametrize("extra, lacking", [
    ("", []),
    (add_to("imap", "notify"), []),
    (PLAIN, ["imap"]),
    pytest.param(REFUSED, ["imap"], marks=only_24),
    ("mail_plugins = notify\n",
     ["doveadm", "lda"] if SERIES == "2.3" else
     ["doveadm", "imap", "lda", "lmtp", "pop3"]),
    ("mail_plugins = notify\n" + block(
        "protocol lda", {"mail_plugins": "notify mailhook"}),
     ["doveadm"] if SERIES == "2.3" else
     ["doveadm", "imap", "lmtp", "pop3"]),
], ids=["shipped", "added", "plain", "refused", "all-plain", "but-one"])
def test_check_finds_the_protocols_without_it(
        dovecot, unstarted, extra, lacking):
    one = unstarted(
        extra=extra + plugin_setting("mailhook_dir", dovecot.state))
    out = dovecot.ctl("--dovecot", one.conf, "check", check=False)
    assert sorted(re.findall(r"(?m)^problem +protocol (\S+) lacks",
                             out.stdout)) == lacking
    assert sorted(re.findall(r"(?m)^ok +protocol (\S+) has", out.stdout) +
                  lacking) == ["doveadm", "imap", "lda", "lmtp", "pop3"]
    assert out.returncode == (1 if lacking else 0), out.stdout


@pytest.mark.parametrize("elsewhere", [False, True])
def test_check_compares_the_directories(dovecot, unstarted, elsewhere):
    where = "/var/lib/dovecot/elsewhere" if elsewhere else dovecot.state
    one = unstarted(extra=plugin_setting("mailhook_dir", where))
    out = dovecot.ctl("--dovecot", one.conf, "check", check=False)
    told = [line for line in out.stdout.splitlines()
            if "mailhook_dir" in line]
    if elsewhere:
        assert out.returncode == 1
        [line] = told
        assert line.startswith("problem") and f"{where}, " in line
        assert str(dovecot.state) in line
    else:
        assert (out.returncode, told) == (0, [])


@only_24
def test_check_misses_the_settings_module(dovecot):
    conf = dovecot.top / "bare.conf"
    conf.write_text(re.sub(r"(?m)^mailhook_.*\n", "",
                           dovecot.conf.read_text()))
    out = dovecot._run(
        ["unshare", "--mount", "sh", "-c",
         f"umount {build.STOCK_MODULES}/settings && exec {build.CTL} "
         f"--control {dovecot.control} --dovecot {conf} check"], False, 60)
    assert out.returncode == 1
    assert "problem  Dovecot does not know mailhook's settings" in out.stdout
