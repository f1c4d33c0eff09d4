"""mailhookctl, the shipped configuration file, and what is built."""

import json
import os
import re
import socket
import subprocess
import time

import pytest

from harness import build
from harness.clients import message
from harness.dovecot import Dovecot


def test_the_plugin_exports_its_entry_points_only():
    out = subprocess.run(
        ["nm", "-D", "--defined-only", build.PLUGIN], check=True,
        stdout=subprocess.PIPE, text=True).stdout
    names = {line.split()[-1].split("@")[0] for line in out.splitlines()}
    assert "mailhook_plugin_init" in names
    assert [n for n in names if not n.startswith("mailhook_plugin_")] == []


def test_the_plugin_needs_nothing_at_load_time_but_dovecot():
    """A module with unresolved symbols would fail every login, and a library
    more is loaded and bound in each."""
    out = subprocess.run(["readelf", "-d", build.PLUGIN], check=True,
                         stdout=subprocess.PIPE, text=True).stdout
    needed = re.findall(r"NEEDED.*\[(\S+)\]", out)
    # The sanitizers bring libraries of their own.
    libc = r"libc\.|ld-linux" if not os.environ.get("MAILHOOK_SANITIZE") else \
        r"(?!.*(json|sqlite|curl|event|confuse))"
    assert needed and [n for n in needed if not re.match(libc, n)] == []


def test_every_protocol_has_the_plugin(dovecot):
    for protocol in ("imap", "pop3", "lmtp", "lda", "doveadm"):
        out = dovecot._run(
            ["doveconf", "-c", dovecot.conf, "-h", "-f",
             f"protocol={protocol}", "mail_plugins"], True, 60).stdout
        assert "mailhook" in out.split(), protocol


def test_doveconf_tells_no_secret(dovecot, receiver):
    out = dovecot._run(["doveconf", "-c", dovecot.conf, "-n"], True, 60)
    assert "whsec_" not in out.stdout and "http://" not in out.stdout


def test_check(dovecot):
    """Good: exit 0, and it looked at both sides."""
    checked = dovecot.ctl("check", check=False)
    assert checked.returncode == 0, checked.stdout + checked.stderr


def test_status(dovecot, mail):
    mail.deliver(message())
    mail.take()
    text = dovecot.ctl("status").stdout
    assert re.search(r"\ball\b", text)
    assert "whsec_" not in text
    parsed = json.loads(dovecot.ctl("--json", "status").stdout)
    assert "all" in json.dumps(parsed)


def test_test_sends_one_event_and_shows_the_answer(dovecot, receiver):
    def tests():
        return [r for r in receiver.on("/all")
                if r.type == "vnd.mailhook.Test"]

    before = len(tests())
    shown = dovecot.ctl("test", "all").stdout
    assert len(tests()) == before + 1
    request = tests()[-1]
    assert request.valid
    assert request.sequence == 0 and request.floor is None
    assert "204" in shown and request.id in shown


def test_test_of_an_unknown_endpoint_fails(dovecot):
    shown = dovecot.ctl("test", "nowhere", check=False)
    assert shown.returncode != 0
    assert "nowhere" in shown.stdout + shown.stderr


def test_tail_shows_events_as_they_come(dovecot, mail):
    tail = subprocess.Popen(
        [build.CTL, "--control", dovecot.control, "tail"],
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True)
    try:
        # It shows what comes after it connected: deliver until it does.
        import threading
        import time
        lines = []
        reader = threading.Thread(
            target=lambda: lines.extend(iter(tail.stdout.readline, "")),
            daemon=True)
        reader.start()
        for _ in range(100):
            mail.deliver(message())
            if any(mail.user in line for line in lines):
                break
            time.sleep(0.1)
        assert any("MessageNew" in line and mail.user in line
                   for line in lines)
    finally:
        tail.terminate()
        tail.wait()


def test_dead_is_empty_here(dovecot):
    assert dovecot.ctl("dead").returncode == 0


def test_help_has_an_example():
    for program in (build.CTL, build.DAEMON):
        out = subprocess.run([program, "--help"], check=True,
                             stdout=subprocess.PIPE, text=True).stdout
        assert program.name in out


def test_a_daemon_that_is_away_is_said(tmp_path):
    out = subprocess.run(
        [build.CTL, "--control", tmp_path / "none", "status"],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    assert out.returncode != 0
    assert str(tmp_path / "none") in out.stdout


def test_secret_needs_no_daemon(tmp_path):
    """Two are never the same, and the kinds are what they say."""
    def secret(*more):
        return subprocess.run(
            [build.CTL, "--control", tmp_path / "none", "secret", *more],
            check=True, stdout=subprocess.PIPE, text=True).stdout

    one, two = secret(), secret()
    assert one != two
    assert re.fullmatch(r"whsec_[A-Za-z0-9+/]{43}=\n", one)
    pair = secret("--ed25519")
    assert re.fullmatch(r"# for the receiver: whpk_[A-Za-z0-9+/]{43}=\n"
                        r"whsk_[A-Za-z0-9+/]{43}=\n", pair)
    assert list(json.loads(secret("--json"))) == ["secret"]


@pytest.fixture
def plain():
    with Dovecot(plugin=False) as one:
        yield one


def test_the_harness_itself_on_plain_dovecot(plain):
    """Without the plugin everything works and nothing is published: what
    the other tests see comes from mailhook."""
    with plain.lmtp() as lmtp:
        lmtp.deliver(message(), "someone@example.org")
    with plain.imap("someone@example.org") as imap:
        assert imap.status("INBOX")["messages"] == 1
    assert list(plain.state.iterdir()) == []


def say(dovecot, *octets):
    """What the control socket answers to these octets, line by line."""
    with socket.socket(socket.AF_UNIX) as one:
        one.settimeout(30)
        one.connect(str(dovecot.control))
        try:
            for some in octets:
                one.sendall(some)
            one.shutdown(socket.SHUT_WR)
        except OSError:
            pass  # it may have hung up in the middle
        answer = b""
        try:
            while some := one.recv(65536):
                answer += some
        except ConnectionResetError:
            pass
    return [json.loads(line) for line in answer.splitlines()]


@pytest.mark.parametrize("octets", [
    b"hello\n", b"\0\xff\xfe\n", b"[]\n", b"{}\n", b'{"command":7}\n',
    b'{"command":"fly"}\n', b'{"command":"pause"}\n',
    b'{"command":"pause","endpoint":{"a":[1]}}\n',
    b'{"command":"drop","endpoint":"nobody","id":"x"}\n',
    b'{"command":"tail","type":"NoSuchType"}\n',
    b'{"command":"status"} {"command":"status"}\n',
    b'{"command":"status"}x\n', b'{"command":"status"}]\n',
    b'{"command":"replay","endpoint":"all","since_ms":"1h"}\n',
    b'{"command":"drop","endpoint":"all","all":1}\n',
    b'{"command":"resync","user":""}\n',
    b"[" * 3000 + b"\n", b'{"command":"' + b"x" * 100000 + b'"}\n'],
    ids=lambda octets: octets[:40].decode("ascii", "replace"))
def test_nonsense_on_the_control_socket_gets_a_sentence(dovecot, octets):
    answers = say(dovecot, octets)
    assert len(answers) <= 1
    for answer in answers:
        assert answer["ok"] is False and len(answer["error"]) > 5, answer
    assert dovecot.ask("status")["ok"]


def test_half_a_line_and_pieces_of_one(dovecot):
    assert say(dovecot, b'{"command":"sta') == []
    [answer] = say(dovecot, *[bytes([one]) for one in
                              b'{"command":"status"}\n'])
    assert answer["ok"]
    [answer] = say(dovecot, b' {"command":"status"} \t\r\n')
    assert answer["ok"]
    assert [one["ok"] for one in say(
        dovecot, b'{"command":"status"}\nno\n{"command":"status"}\n')] == \
        [True, False, True]


def test_more_clients_than_the_daemon_takes(dovecot):
    """They are told; once the others have gone there is room again."""
    crowd = []
    for _ in range(40):
        one = socket.socket(socket.AF_UNIX)
        one.connect(str(dovecot.control))
        one.settimeout(30)
        crowd.append(one)
    assert b"try again" in crowd[-1].recv(1000)
    refused = dovecot.ctl("status", check=False)
    assert refused.returncode == 1
    assert "try again" in refused.stderr
    for one in crowd:
        one.close()
    for _ in range(100):
        if dovecot.ctl("status", check=False).returncode == 0:
            return
        time.sleep(0.1)
    raise AssertionError("nobody is let in any more")


@pytest.mark.parametrize("arguments,code", [
    (["fly"], 2), ([], 2), (["--no-such-option"], 2), (["pause"], 2),
    (["status", "surplus"], 2), (["tail", "--type"], 2),
    (["pause", "nobody"], 1), (["drop", "nobody"], 1), (["--help"], 0),
    (["--version"], 0), (["status"], 0)])
def test_exit_codes(dovecot, arguments, code):
    done = dovecot.ctl(*arguments, check=False)
    assert done.returncode == code, done.stdout + done.stderr
    if code:
        assert done.stderr.startswith("mailhookctl: ") or "Usage" in \
            done.stderr, done.stderr


def test_exit_code_without_a_daemon(dovecot, tmp_path):
    done = dovecot._run([build.CTL, "--control", tmp_path / "none",
                         "status"], False, 60)
    assert done.returncode == 3
    assert str(tmp_path / "none") in done.stderr
