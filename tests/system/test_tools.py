"""mailhookctl, the shipped configuration file, and what is built."""

import json
import re
import subprocess

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
    """A module with unresolved symbols would fail every login."""
    out = subprocess.run(["readelf", "-d", build.PLUGIN], check=True,
                         stdout=subprocess.PIPE, text=True).stdout
    needed = re.findall(r"NEEDED.*\[(\S+)\]", out)
    assert not [n for n in needed if re.search("sqlite|curl|event|confuse", n)]


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
