"""Login and Logout: by each protocol, in each way a session can end, and the
Logouts that the daemon must find out about."""

import base64
import imaplib
import json
import os
import signal
import socket
import ssl
import threading
import time
from pathlib import Path

import pytest

from conftest import Configuration, fresh_user
from harness.clients import PASSWORD, message
from harness.dialect import DIALECT, SERIES, block
from harness.dovecot import SERVER_NAME, Dovecot, let_in
from harness.expect import Mail, mailbox_url, settled

EVENTS = '{"access", "message", "subscription"}'
RS = b"\x1e"
PROCESSES = {"imap": ("imap", "imap"), "pop3": ("pop", "pop3"),
             "submission": ("submission", "submission"),
             "sieve": ("sieve", "managesieve")}
COUNTS = ("vnd.mailhook.duration", "vnd.mailhook.bytesIn",
          "vnd.mailhook.bytesOut")


class Relay:
    """As much of an SMTP server as Dovecot asks before it lets a client in."""

    def __init__(self):
        self.socket = socket.create_server(("127.0.0.1", 0))
        self.port = self.socket.getsockname()[1]
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self):
        while True:
            try:
                client, _ = self.socket.accept()
            except OSError:
                return
            threading.Thread(target=self._talk, args=(client,),
                             daemon=True).start()

    @staticmethod
    def _talk(client):
        with client, client.makefile("rwb") as stream:
            stream.write(b"220 relay ESMTP\r\n")
            stream.flush()
            while True:
                try:
                    line = stream.readline()
                except OSError:
                    return
                if not line.strip():
                    return
                word = line.split()[0].upper()
                stream.write(b"221 bye\r\n" if word == b"QUIT" else
                             b"250-relay\r\n250 PIPELINING\r\n"
                             if word == b"EHLO" else b"250 ok\r\n")
                stream.flush()

    def stop(self):
        self.socket.close()


class Raw:
    """A client that counts octets from when it has logged in."""

    def __init__(self, port, tls=None):
        self.socket = socket.create_connection(("127.0.0.1", port), 30)
        self.port = self.socket.getsockname()[1]
        if tls:
            context = ssl.create_default_context(cafile=tls)
            self.socket = context.wrap_socket(
                self.socket, server_hostname=SERVER_NAME)
        self.lines = self.socket.makefile("rb")
        self.sent = self.received = 0

    def line(self):
        line = self.lines.readline()
        self.received += len(line)
        return line

    def until(self, *starts):
        while True:
            line = self.line()
            assert line, "closed"
            if line.startswith(starts):
                return line

    def send(self, data):
        self.socket.sendall(data)
        self.sent += len(data)

    def close(self):
        self.lines.close()
        self.socket.close()

    def rest(self):
        while self.line():
            pass
        self.close()


def raw_imap(dovecot, user, tls=False):
    one = Raw(dovecot.ports["imaps" if tls else "imap"],
              dovecot.top / "etc" / f"{SERVER_NAME}.pem" if tls else None)
    one.until(b"* OK")
    one.send(b"a LOGIN %s %s\r\n" % (user.encode(), PASSWORD.encode()))
    # The imap process answers to LOGIN, but has not read it.
    one.sent = one.received = 0
    one.until(b"a OK")
    return one


def plain(user):
    return base64.b64encode(f"\0{user}\0{PASSWORD}".encode())


def raw_submission(dovecot, user):
    one = Raw(dovecot.ports["submission"])
    one.until(b"220 ")
    one.send(b"EHLO client\r\n")
    one.until(b"250 ")
    one.send(b"AUTH PLAIN " + plain(user) + b"\r\n")
    one.sent = one.received = 0
    one.until(b"235 ")
    return one


def raw_sieve(dovecot, user):
    one = Raw(dovecot.ports["sieve"])
    one.until(b"OK")
    one.send(b'AUTHENTICATE "PLAIN" "' + plain(user) + b'"\r\n')
    one.until(b"OK")
    return one


@pytest.fixture(scope="module")
def sessions(receiver):
    """(Dovecot, path) with every protocol; the daemon in the foreground."""
    relay = Relay()
    configuration = Configuration(receiver)
    path = configuration.add("sessions", events=EVENTS)
    dovecot = Dovecot(
        daemon="foreground", config=configuration.text(),
        protocols=("imap", "pop3", "lmtp", "submission", "sieve"),
        relay_port=relay.port, master_users="boss-pass", hibernate="1s",
        sieve=True, tls=True, extra=(
            "namespace inbox {\n  mailbox Old {\n    autoexpunge = 1s\n"
            "  }\n}\n"))
    try:
        dovecot.start_daemon()
        dovecot.start()
        yield dovecot, path
    finally:
        dovecot.remove()
        relay.stop()


@pytest.fixture
def mail(sessions, receiver):
    return Mail(sessions[0], receiver, sessions[1], fresh_user("session"))


def data(mail, port, protocol="imap", **more):
    """What Login and Logout of this session have in common."""
    service, process = PROCESSES[protocol.rstrip("s") if protocol == "imaps"
                                 else protocol]
    fields = {"uri": mailbox_url(mail.user, ""), "user": mail.user,
              "clientIP": "127.0.0.1", "clientPort": port,
              "serverDomain": SERVER_NAME,
              "serverPort": mail.dovecot.ports[protocol],
              "service": service, "process": process,
              "vnd.mailhook.mechanism": "PLAIN", "vnd.mailhook.tls": False}
    return {**fields, **more}


def end_of(request):
    """(kind of disconnect, duration, bytesIn, bytesOut); None if absent."""
    return tuple(request.data.get(f"vnd.mailhook.{name}")
                 for name in ("disconnect", "duration", "bytesIn",
                              "bytesOut"))


def without_end(request):
    fields = settled(request)
    for name in (*COUNTS, "vnd.mailhook.disconnect"):
        fields.pop(name, None)
    return fields


def expect_session(mail, fields, kind, between=()):
    """Exactly Login, `between`, Logout of one session. The Logout."""
    mail.wait(2 + len(between)) # a process ends after its client has gone
    came = mail.take()
    assert [r.type for r in came] == ["Login", *between, "Logout"]
    login, logout = came[0], came[-1]
    assert settled(login) == fields
    assert without_end(logout) == fields
    assert login.data["vnd.mailhook.session"] == \
        logout.data["vnd.mailhook.session"]
    assert login.data["pid"] == logout.data["pid"] or between
    assert end_of(logout)[0] == kind
    return logout


def wait_for(mail, kind, count=1, timeout=90):
    """Pokes the daemon until that many events came; it looks for lost
    sessions at most every few seconds, idle once a minute."""
    end = time.monotonic() + timeout
    while time.monotonic() < end:
        found = [r for r in mail.requests() if r.type == kind]
        if len(found) >= count:
            return found
        mail.mark()
        time.sleep(0.3)
    raise AssertionError(f"{kind} did not come:\n{mail.dovecot.log()[-3000:]}")


def wait_login(mail):
    mail.receiver.wait(lambda: [r for r in mail.requests()
                                if r.type == "Login"], what="a Login")
    return [r for r in mail.requests() if r.type == "Login"][-1]


def without_marks(requests):
    return [r for r in requests if r.type != "MailboxSubscribe"]


def records(dovecot):
    text = (dovecot.state / "journal").read_bytes()
    return [json.loads(one) for one in text.split(RS) if one.strip()][1:]


def check_octets(request, client):
    """Exact, but for the line end behind LOGOUT, which Dovecot's imap leaves
    unread, and does not count in its own log either."""
    _, _, bytes_in, bytes_out = end_of(request)
    assert bytes_out == client.received
    assert bytes_in == client.sent - 2 * (
        request.data["service"] == "imap" and
        end_of(request)[0] == "graceful")


# -- ways to end

def test_graceful(mail):
    client = raw_imap(mail.dovecot, mail.user)
    client.send(b"b SELECT INBOX\r\n")
    client.until(b"b OK")
    time.sleep(1.2)
    client.send(b"c LOGOUT\r\n")
    client.rest()
    logout = expect_session(mail, data(mail, client.port), "graceful")
    check_octets(logout, client)
    assert 1 <= end_of(logout)[1] < 60


def test_abort(mail):
    client = raw_imap(mail.dovecot, mail.user)
    client.send(b"b NOOP\r\n")
    client.until(b"b OK")
    client.close()
    mail.wait(2)
    logout = expect_session(mail, data(mail, client.port), "abort")
    check_octets(logout, client)


def test_thrown_out(mail):
    """Too many bad commands: the server ends it, because of the client."""
    client = raw_imap(mail.dovecot, mail.user)
    client.send(b"b NONSENSE\r\n" * 25)
    client.rest()
    mail.wait(2)
    expect_session(mail, data(mail, client.port), "abort")


def test_kicked(mail):
    client = raw_imap(mail.dovecot, mail.user)
    wait_login(mail)
    mail.dovecot.doveadm("kick", mail.user)
    client.rest()
    mail.wait(2)
    expect_session(mail, data(mail, client.port), "shutdown")


def test_mechanism(mail):
    client = imaplib.IMAP4("127.0.0.1", mail.dovecot.imap_port)
    client.authenticate("PLAIN", lambda _: f"\0{mail.user}\0{PASSWORD}")
    port = client.sock.getsockname()[1]
    client.logout()
    expect_session(mail, data(mail, port), "graceful")


def test_master_user(mail):
    client = imaplib.IMAP4("127.0.0.1", mail.dovecot.imap_port)
    client.login(f"{mail.user}*boss", "boss-pass")
    port = client.sock.getsockname()[1]
    client.logout()
    expect_session(mail, data(mail, port, admin="boss"), "graceful")


def test_tls(mail):
    client = raw_imap(mail.dovecot, mail.user, tls=True)
    client.send(b"b LOGOUT\r\n")
    client.rest()
    logout = expect_session(mail, data(mail, client.port, "imaps",
                                       **{"vnd.mailhook.tls": True}),
                            "graceful")
    # Of the mail protocol, not of TLS.
    check_octets(logout, client)


@pytest.mark.parametrize("quits", [True, False])
def test_pop3(mail, quits):
    """The Logout comes behind what QUIT does."""
    mail.deliver(message())
    mail.take()
    client = Raw(mail.dovecot.pop3_port)
    client.until(b"+OK")
    client.send(b"USER %s\r\n" % mail.user.encode())
    client.until(b"+OK")
    client.send(b"PASS %s\r\n" % PASSWORD.encode())
    client.sent = client.received = 0
    client.until(b"+OK")
    client.send(b"DELE 1\r\n")
    client.until(b"+OK")
    if quits:
        client.send(b"QUIT\r\n")
        client.rest()
    else:
        client.close()
        mail.wait(2)
    logout = expect_session(
        mail, data(mail, client.port, "pop3"),
        "graceful" if quits else "abort",
        ["MessageExpunge"] if quits else [])
    check_octets(logout, client)


@pytest.mark.parametrize("quits", [True, False])
def test_submission(mail, quits):
    client = raw_submission(mail.dovecot, mail.user)
    client.send(b"NOOP\r\n")
    client.until(b"250 ")
    if quits:
        client.send(b"QUIT\r\n")
        client.rest()
    else:
        client.close()
    mail.wait(2)
    logout = expect_session(mail, data(mail, client.port, "submission"),
                            "graceful" if quits else "abort")
    check_octets(logout, client)


def test_submission_kicked(mail):
    client = raw_submission(mail.dovecot, mail.user)
    wait_login(mail)
    mail.dovecot.doveadm("kick", mail.user)
    client.rest()
    mail.wait(2)
    expect_session(mail, data(mail, client.port, "submission"), "shutdown")


def test_managesieve(mail):
    """How it ended, and how much went over it, cannot be seen."""
    client = raw_sieve(mail.dovecot, mail.user)
    client.send(b"LOGOUT\r\n")
    client.rest()
    mail.wait(2)
    logout = expect_session(mail, data(mail, client.port, "sieve"), None)
    assert end_of(logout)[2:] == (None, None)
    assert end_of(logout)[1] >= 0


UNHURRIED = pytest.mark.skipif(
    "MAILHOOK_SANITIZE" in os.environ,
    reason="faketime does not go together with AddressSanitizer")


@pytest.fixture(scope="module")
def hurried(receiver, tmp_path_factory):
    """(Dovecot, path) whose imap and pop3 live through minutes in seconds:
    Dovecot's time limits are constants."""
    top = tmp_path_factory.mktemp("hurried")
    library = next(Path("/usr/lib").glob("*/faketime/libfaketime.so.1"))
    extra = ""
    for program in ("imap", "pop3"):
        real = next(Path("/usr").glob(f"lib*/dovecot/{program}"))
        wrapper = top / program
        wrapper.write_text(
            f"#!/bin/sh\nexport LD_PRELOAD={library}\n"
            f"export FAKETIME='+0 x400'\nexec {real} \"$@\"\n")
        wrapper.chmod(0o755)
        extra += block(f"service {program}", {"executable": wrapper})
    let_in(top)
    configuration = Configuration(receiver)
    path = configuration.add("hurried", events='{"access"}')
    with Dovecot(config=configuration.text(), protocols=("imap", "pop3"),
                 extra=extra) as dovecot:
        yield dovecot, path


@UNHURRIED
def test_timeout(hurried, receiver):
    """30 minutes without a command."""
    mail = Mail(hurried[0], receiver, hurried[1], fresh_user("idle"))
    client = raw_imap(mail.dovecot, mail.user)
    client.rest()
    mail.wait(2)
    login, logout = mail.requests()
    assert end_of(login) == (None, None, None, None)
    kind, duration, _, bytes_out = end_of(logout)
    assert kind == "timeout" and bytes_out == client.received
    assert 30 * 60 <= duration < 24 * 3600


@UNHURRIED
def test_pop3_timeout(hurried, receiver):
    """10 minutes, the least that RFC 1939 allows."""
    mail = Mail(hurried[0], receiver, hurried[1], fresh_user("idle"))
    client = Raw(mail.dovecot.pop3_port)
    client.until(b"+OK")
    client.send(b"USER %s\r\nPASS %s\r\n" % (mail.user.encode(),
                                             PASSWORD.encode()))
    client.until(b"+OK Logged in")
    client.rest()
    mail.wait(2)
    kind, duration, _, _ = end_of(mail.requests()[1])
    assert kind == "timeout" and 10 * 60 <= duration < 24 * 3600


def test_behind_autoexpunge(mail):
    with mail.imap() as imap:
        imap.ok("CREATE Old")
        imap.append("Old", message())
        imap.logout()
    mail.receiver.wait(lambda: mail.requests()[-1:] and
                       mail.requests()[-1].type == "Logout")
    mail.take()
    time.sleep(1.5)
    with mail.imap() as imap:
        port = imap.port
    expect_session(mail, data(mail, port), "graceful", ["MessageExpire"])


# -- what is none

def test_no_login(mail):
    """A wrong password, a delivery, an administrator: nobody logged in."""
    client = imaplib.IMAP4("127.0.0.1", mail.dovecot.imap_port)
    with pytest.raises(imaplib.IMAP4.error):
        client.login(f"{mail.user}*boss", "wrong")
    client.shutdown()
    mail.deliver(message())
    mail.dovecot.doveadm("mailbox", "status", "-u", mail.user, "messages",
                         "INBOX")
    assert [r.type for r in mail.take()] == ["MessageNew"]


# -- what the daemon finds out

def is_lost(mail, login, logout):
    """The Logout carries what the Login carried, but the end is unknown."""
    assert end_of(logout) == ("lost", None, None, None)
    fields = dict(logout.data)
    del fields["vnd.mailhook.disconnect"]
    assert fields.pop("timestamp") >= login.data["timestamp"]
    assert {**fields, "timestamp": login.data["timestamp"]} == login.data
    assert logout.id != login.id
    record = [r for r in records(mail.dovecot) if r["id"] == logout.id][0]
    assert record["cause"] == login.id


def test_killed(mail):
    client = raw_imap(mail.dovecot, mail.user)
    login = wait_login(mail)
    mail.mark()
    os.kill(login.data["pid"], signal.SIGKILL)
    client.rest()
    logout, = wait_for(mail, "Logout")
    is_lost(mail, login, logout)
    time.sleep(2.5)
    assert [r.type for r in without_marks(mail.take())] == ["Login", "Logout"]


def test_killed_while_the_daemon_is_away(mail):
    """Killed before the daemon comes back, which is killed again while it
    finds out: one Logout for each all the same. Who lives goes on."""
    clients = [raw_imap(mail.dovecot, mail.user) for _ in range(4)]
    mail.receiver.wait(lambda: len(
        [r for r in mail.requests() if r.type == "Login"]) == 4,
        what="four Logins")
    logins = [r for r in mail.requests() if r.type == "Login"]
    mail.dovecot.stop_daemon(signal.SIGKILL)
    for login in logins[:3]:
        os.kill(login.data["pid"], signal.SIGKILL)
    for wait in (0.05, 0.15, 0.3):
        mail.dovecot.start_daemon()
        time.sleep(wait)
        mail.dovecot.stop_daemon(signal.SIGKILL)
    mail.dovecot.start_daemon()
    wait_for(mail, "Logout", 3)
    time.sleep(2.5)
    mail.mark()
    ids = {r.id: r for r in mail.requests() if r.type == "Logout"}
    assert len(ids) == 3
    assert sorted(r.data["vnd.mailhook.session"] for r in ids.values()) == \
        sorted(r.data["vnd.mailhook.session"] for r in logins[:3])
    clients[3].send(b"b LOGOUT\r\n")
    clients[3].rest()
    mail.mark()
    last = [r for r in mail.requests() if r.type == "Logout"][-1]
    assert end_of(last)[0] == "graceful" and last.id not in ids


def sleeps(mail, client):
    """IDLE, until imap-hibernate has it."""
    before = sum(r["type"] == "vnd.mailhook.fact.hibernated" and
                 r["user"] == mail.user for r in records(mail.dovecot))
    client.send(b"i IDLE\r\n")
    client.until(b"+")
    end = time.monotonic() + 60
    while sum(r["type"] == "vnd.mailhook.fact.hibernated" and
              r["user"] == mail.user
              for r in records(mail.dovecot)) == before:
        assert time.monotonic() < end, mail.dovecot.log()
        time.sleep(0.1)


@pytest.mark.parametrize("tls", [False, True])
def test_hibernated_and_back(mail, tls):
    """One session, however often."""
    client = raw_imap(mail.dovecot, mail.user, tls)
    client.send(b"b SELECT INBOX\r\n")
    client.until(b"b OK")
    for _ in range(2):
        sleeps(mail, client)
        mail.mark()
        client.send(b"DONE\r\n")
        client.until(b"i OK")
    client.send(b"c LOGOUT\r\n")
    client.rest()
    mail.mark()
    came = without_marks(mail.take())
    assert [r.type for r in came] == ["Login", "Logout"]
    protocol = "imaps" if tls else "imap"
    fields = data(mail, client.port, protocol, **{"vnd.mailhook.tls": tls})
    assert settled(came[0]) == fields
    del fields["vnd.mailhook.tls"] # hibernation forgets it
    assert without_end(came[1]) == fields
    kind, duration, bytes_in, bytes_out = end_of(came[1])
    assert kind == "graceful" and 2 <= duration < 120
    if SERIES == "2.3": # forgets the octets from before
        assert (bytes_in, bytes_out) == (None, None)
    else:
        check_octets(came[1], client)


@pytest.mark.parametrize("tls", [False, True])
def test_gone_while_hibernated(mail, tls):
    """No plugin runs where such a session ends. Its neighbour sleeps on."""
    client, other = (raw_imap(mail.dovecot, mail.user, tls)
                     for _ in range(2))
    for one in (client, other):
        sleeps(mail, one)
    logins = [r for r in mail.requests() if r.type == "Login"]
    assert [r.data["clientPort"] for r in logins] == [client.port, other.port]
    client.close()
    logout, = wait_for(mail, "Logout")
    is_lost(mail, logins[0], logout)
    time.sleep(2.5)
    other.send(b"DONE\r\n")
    other.until(b"i OK")
    other.send(b"c LOGOUT\r\n")
    other.rest()
    mail.mark()
    came = without_marks(mail.take())
    assert [r.type for r in came] == ["Login", "Login", "Logout", "Logout"]
    assert [end_of(r)[0] for r in came[2:]] == ["lost", "graceful"]
    assert came[3].data["clientPort"] == other.port


def test_killed_after_it_came_back(mail):
    client = raw_imap(mail.dovecot, mail.user)
    sleeps(mail, client)
    client.send(b"DONE\r\n")
    client.until(b"i OK")
    back = [r for r in records(mail.dovecot) if r["user"] == mail.user][-1]
    assert back["type"] == "vnd.mailhook.fact.resumed"
    os.kill(back["data"]["pid"], signal.SIGKILL)
    client.rest()
    logout, = wait_for(mail, "Logout")
    is_lost(mail, wait_login(mail), logout)


def test_reload_shuts_clients_down(mail):
    client = raw_imap(mail.dovecot, mail.user)
    wait_login(mail)
    mail.dovecot.reload()
    client.rest()
    mail.wait(2)
    expect_session(mail, data(mail, client.port), "shutdown")


# -- who wants what

def log_in_and_out(dovecot, user):
    with dovecot.imap(user) as imap:
        imap.ok("NOOP")


def test_only_logouts(private, receiver):
    """Wanting Logouts makes Logins known, but not told."""
    dovecot, _, path = private(endpoint={
        "events": '{"Logout", "subscription"}', "users": '{"one@x"}',
        "mailboxes": '{"marker*"}'})
    mail = Mail(dovecot, receiver, path, "one@x")
    log_in_and_out(dovecot, "two@x")
    log_in_and_out(dovecot, "one@x")
    client = raw_imap(dovecot, "one@x")
    mail.mark()
    login = [r for r in records(dovecot) if r["type"] == "Login"][-1]
    os.kill(login["data"]["pid"], signal.SIGKILL)
    client.rest()
    wait_for(mail, "Logout", 2)
    came = without_marks(mail.take())
    assert [end_of(r)[0] for r in came] == ["graceful", "lost"]
    assert {r["user"] for r in records(dovecot)} == {"one@x"}


def test_only_logins(private, receiver):
    """Nobody wants to hear of an end: nobody waits for one."""
    dovecot, _, path = private(endpoint={
        "events": '{"Login", "subscription"}'})
    mail = Mail(dovecot, receiver, path, "one@x")
    log_in_and_out(dovecot, "one@x")
    client = raw_imap(dovecot, "one@x")
    mail.mark()
    logins = [r for r in records(dovecot) if r["type"] == "Login"]
    assert len(logins) == 2 and not any("instance" in r for r in logins)
    os.kill(logins[-1]["data"]["pid"], signal.SIGKILL)
    client.rest()
    for _ in range(3):
        time.sleep(1)
        mail.mark()
    assert [r.type for r in without_marks(mail.take())] == ["Login"] * 2
    assert {r["type"] for r in records(dovecot)} == \
        {"Login", "MailboxSubscribe"}


def test_one_process_for_several_sessions(private, receiver):
    """It has one slot for life. Who has logged out is not lost with it."""
    dovecot, _, path = private(endpoint={"events": EVENTS},
                               extra=DIALECT.reuse("imap", 10))
    mail = Mail(dovecot, receiver, path, "one@x")
    log_in_and_out(dovecot, "one@x")
    mail.wait(2)
    client = raw_imap(dovecot, "one@x")
    mail.wait(3)
    first, logout, second = mail.take()
    assert second.data["pid"] == first.data["pid"]
    assert end_of(logout)[0] == "graceful"
    slots = {(r["slot"], r["instance"]) for r in records(dovecot)
             if r["type"] in ("Login", "Logout")}
    assert len(slots) == 1
    os.kill(second.data["pid"], signal.SIGKILL)
    client.rest()
    lost = wait_for(mail, "Logout", 2)[-1]
    is_lost(mail, second, lost)
