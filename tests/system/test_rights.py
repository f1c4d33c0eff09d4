"""Who may do what: the setups that mail servers have, each delivering across
a rotation of the journal, and what `mailhookctl check` says where the rights
do not fit."""

import os
import re
import subprocess
import time

import pytest

from conftest import Configuration
from harness import build
from harness.clients import message
from harness.dialect import User, block
from harness.dovecot import Dovecot
from harness.expect import encode_user
from test_daemon import rotate

ONE, TWO = "one@example.org", "two@example.org"
SYSTEM_USERS = [User(ONE, 5101), User(TWO, 5102)]

SETUPS = {
    "virtual": {},
    "system": {"users": SYSTEM_USERS},
    "rootless": {"rootless": True},
}


def problems(text):
    return [line.split(None, 1)[1] for line in text.splitlines()
            if line.startswith("problem")]


def check(dovecot, **options):
    return dovecot.ctl("--dovecot", dovecot.conf, "check", check=False,
                       **options)


@pytest.mark.parametrize("setup", SETUPS)
def test_it_starts_delivers_and_rotates(private, receiver, setup):
    dovecot, _, path = private(daemon="service", **SETUPS[setup])

    def deliver():
        with dovecot.lmtp() as lmtp:
            lmtp.deliver(message(), ONE)
            lmtp.deliver(message(), TWO)

    # A session from before the rotation appends after it: it has to open the
    # new file with the rights of a mail process.
    with dovecot.imap(ONE) as imap:
        deliver()
        imap.append("INBOX", message())
        rotate(dovecot, deliver)
        deliver()
        valid, last = imap.append("INBOX", message())
        imap.ok("CREATE Last")
    receiver.wait(lambda: [
        r for r in receiver.answered(path) if r.type == "MailboxCreate"])
    events = receiver.answered(path)
    assert {r.type for r in events} == \
        {"MessageNew", "MessageAppend", "MailboxCreate"}
    uris = [r.data["uri"] for r in events if r.owner == encode_user(ONE)]
    assert [uri.rpartition("=")[2] for uri in uris[:-1]] == \
        [str(n) for n in range(1, int(last) + 1)]

    homes = {path.name: path.stat().st_uid
             for path in (dovecot.top / "mail").iterdir()}
    assert homes == {
        "virtual": {ONE: 5000, TWO: 5000},
        "system": {ONE: 5101, TWO: 5102},
        "rootless": dict.fromkeys((ONE, TWO), dovecot.owner.pw_uid)}[setup]
    checked = check(dovecot)
    assert problems(checked.stdout) == []
    assert checked.returncode == 0, checked.stdout + checked.stderr


def test_rootless_is_what_it_says(private):
    """No process of root, nothing but its directory and /tmp to write to."""
    dovecot, _, _ = private(daemon="service", rootless=True)
    pids = [dovecot.process.pid, *dovecot.daemon_pids()]
    assert len(pids) == 2
    for pid in pids:
        assert os.stat(f"/proc/{pid}").st_uid == dovecot.owner.pw_uid
        inside = f"/proc/{pid}/root"
        assert not os.access(f"{inside}/var/lib", os.W_OK)
        assert os.stat(f"{inside}/run").st_mode & 0o777 == 0


# -- what check says of rights that do not fit


@pytest.fixture(scope="module")
def served(receiver):
    """A Dovecot that runs its daemon, and its good configuration."""
    configuration = Configuration(receiver)
    configuration.add("only")
    with Dovecot(config=configuration.text()) as dovecot:
        configuration.dovecot = dovecot
        with dovecot.lmtp() as lmtp:
            lmtp.deliver(message(), ONE)
        yield dovecot


@pytest.fixture
def restored(served):
    """Puts owners and modes back."""
    paths = [served.state, *served.state.iterdir(), served.mailhook_conf]
    before = [(path, path.stat()) for path in paths]
    conf = served.mailhook_conf.read_text()
    yield served
    served.configure(conf)
    for path, stat in before:
        if path.exists():
            os.chown(path, stat.st_uid, stat.st_gid)
            os.chmod(path, stat.st_mode & 0o7777)


def finds(dovecot, *sentences, code=1):
    """check says exactly these problems."""
    checked = check(dovecot)
    names = {"DIR": str(dovecot.state), "CONF": str(dovecot.mailhook_conf)}
    wanted = []
    for sentence in sentences:
        for name, value in names.items():
            sentence = sentence.replace(name, value)
        wanted.append(sentence)
    assert problems(checked.stdout) == wanted
    assert checked.returncode == code, checked.stdout + checked.stderr
    return checked.stdout


def test_the_good_one_has_no_problem(served):
    out = finds(served, code=0)
    assert f"ok       {served.state}: mode 2711" in out
    # Whether it is used cannot be seen.
    assert "note     dovecot-lda can append only as a mail user of group " \
        f"dovecot, that of {served.state}" in out


def test_the_directory_of_another_user(restored):
    os.chown(restored.state, 0, -1)
    finds(restored, "DIR: mailhookd runs as dovecot and cannot make files "
          "there: chown dovecot DIR")


def test_the_directory_of_another_group(restored):
    for path in (restored.state, *restored.state.iterdir()):
        os.chown(path, -1, 33)
        os.chmod(path, {"journal": 0o620, "presence": 0o660,
                        "interest": 0o640}.get(path.name, 0o600))
    os.chmod(restored.state, 0o2711)
    finds(restored, "DIR: its group is www-data, which mail processes do not "
          "have: chgrp -R dovecot DIR && chmod 2711 DIR")


@pytest.mark.parametrize("mode, sentence", [
    (0o2700, "DIR: mode 2700 keeps mail processes out: chmod 2711 DIR"),
    (0o2771, "DIR: others than its owner may make files there: chmod 2711 "
     "DIR")])
def test_the_directorys_mode(restored, mode, sentence):
    os.chmod(restored.state, mode)
    finds(restored, sentence)


@pytest.mark.parametrize("name, mode", [
    ("journal", "0620"), ("presence", "0660"), ("interest", "0640")])
def test_a_files_mode(restored, name, mode):
    """As after a chmod -R."""
    os.chmod(restored.state / name, 0o600)
    finds(restored, f"DIR/{name}: mode 0600 instead of {mode}: chmod {mode} "
          f"DIR/{name}")


def test_a_files_group(restored):
    """As after chgrp of the directory alone: to the group of virtual users,
    so that dovecot-lda can append."""
    os.chown(restored.state / "journal", -1, 33)
    os.chmod(restored.state / "journal", 0o620)
    finds(restored, "DIR/journal: has not the group of its directory: chgrp "
          "dovecot DIR/journal && chmod 2711 DIR")


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o644])
def test_a_configuration_that_others_can_read(restored, mode):
    os.chmod(restored.mailhook_conf, mode)
    finds(restored, f"CONF: mode 0{mode:o} lets others than its owner at the "
          "secrets in it: chmod 0600 CONF")


def test_the_daemon_says_the_same_at_its_start_and_reload(private):
    dovecot, _, _ = private(start=False)
    sentence = f"{dovecot.mailhook_conf}: mode 0640 lets others than its " \
        "owner at the secrets in it: chmod 0600 " + str(dovecot.mailhook_conf)
    dovecot.start_daemon()
    assert "lets others" not in dovecot.log()
    dovecot.stop_daemon()
    os.chmod(dovecot.mailhook_conf, 0o640)
    dovecot.start_daemon()
    assert dovecot.log().count(sentence) == 1
    assert dovecot.ask("reload")["ok"]
    # The log is written at the end of the pass that answered.
    assert dovecot.ask("status")["ok"]
    assert dovecot.log().count(sentence) == 2


def test_a_configuration_that_the_daemon_cannot_read(restored):
    os.chown(restored.mailhook_conf, 0, 0)
    finds(restored, "CONF: mailhookd runs as dovecot and cannot read it: "
          "chown dovecot CONF")


@pytest.mark.parametrize("owner, mode, says", [
    (0, 0o600, "Permission denied"),
    (None, 0o640, "can be read by its group")])
def test_a_secret_file(restored, receiver, owner, mode, says):
    """Of another owner, or open to others."""
    secret = restored.top / "etc" / "portal.secret"
    secret.write_text("whsec_QUJDREVGR0hJSktMTU5PUFFSU1RVVldYWVoxMjM0NTY=\n")
    os.chown(secret, restored.owner.pw_uid if owner is None else owner, -1)
    os.chmod(secret, mode)
    restored.configure(
        'endpoint only {\n  url = "http://127.0.0.1:1/"\n'
        f'  secret_file = {{"{secret}"}}\n}}\n')
    checked = check(restored)
    [problem] = problems(checked.stdout)
    assert str(secret) in problem and says in problem
    assert problem.startswith(f"{restored.mailhook_conf}:3: ")
    assert checked.returncode == 1


@pytest.fixture
def unstarted(receiver):
    made = []

    def make(**options):
        made.append(Dovecot(**options))
        return made[-1]

    yield make
    for one in made:
        one.remove()


def check_as_if(served, other):
    """check of the running daemon against another dovecot.conf."""
    return served.ctl("--dovecot", other.conf, "check", check=False)


def test_a_service_without_the_group(served, unstarted):
    other = unstarted(extra=block("service imap", {"extra_groups": ""}))
    [problem] = [one for one in problems(check_as_if(served, other).stdout)
                 if "mailhook_dir" not in one]
    assert problem == (
        "service imap has not the group dovecot, so imap processes cannot "
        "append to a new journal file: add dovecot to extra_groups in "
        "service imap { }")


def test_mail_access_groups_are_as_good(served, unstarted):
    other = unstarted(extra=block("service imap", {"extra_groups": ""}) +
                      "mail_access_groups = dovecot\n")
    assert not [one for one in problems(check_as_if(served, other).stdout)
                if "service" in one]


def test_lda_is_good_with_the_group(served, unstarted):
    other = unstarted(extra="mail_gid = dovecot\n")
    assert "dovecot-lda" not in check_as_if(served, other).stdout


def as_nobody(dovecot, *args):
    return subprocess.run(
        ["setpriv", "--reuid", "nobody", "--regid", "nogroup",
         "--clear-groups", build.CTL, "--control", dovecot.control,
         "--dovecot", dovecot.conf, *args], stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        timeout=60)


def test_a_user_who_may_not_ask(served):
    checked = as_nobody(served, "check")
    assert problems(checked.stdout) == [
        f"{served.control}: you may not connect to it: run mailhookctl as "
        "root or as Dovecot's user"]
    assert checked.returncode == 3


def test_a_daemon_that_is_elsewhere(served):
    checked = served._run(
        [build.CTL, "--control", served.top / "elsewhere", "--dovecot",
         served.conf, "--config", served.mailhook_conf, "check"], False, 60,
        None, served.environment)
    assert problems(checked.stdout) == [
        f"mailhookd does not answer at {served.top}/elsewhere: Dovecot's is "
        f"at {served.control}, say --control {served.control}"]
    assert checked.returncode == 3


def test_a_daemon_that_cannot_start(unstarted, receiver):
    """The directory belongs to root: check says so without a daemon."""
    configuration = Configuration(receiver)
    configuration.add("only")
    one = unstarted(config=configuration.text())
    os.chown(one.state, 0, 0)
    one.daemon = None
    one.start()
    checked = one._run(
        [build.CTL, "--control", one.control, "--dovecot", one.conf,
         "--config", one.mailhook_conf, "check"], False, 60, None,
        one.environment)
    assert problems(checked.stdout) == [
        f"mailhookd does not answer at {one.control}: Dovecot's log says why "
        "it does not start",
        f"{one.state}: mailhookd runs as dovecot and cannot make files "
        f"there: chown dovecot {one.state}",
        f"{one.state}: its group is root, which mail processes do not have: "
        f"chgrp -R dovecot {one.state} && chmod 2711 {one.state}"]
    end = time.monotonic() + 30
    while not re.search(f"mailhook: .*{one.state}", one.log()):
        assert time.monotonic() < end, one.log()
        time.sleep(0.1)


def test_a_missing_directory(unstarted, receiver):
    configuration = Configuration(receiver)
    configuration.add("only")
    one = unstarted(config=configuration.text())
    one.state.rmdir()
    checked = one._run(
        [build.CTL, "--control", one.control, "--dovecot", one.conf,
         "--config", one.mailhook_conf, "check"], False, 60, None,
        one.environment)
    assert problems(checked.stdout) == [
        f"mailhookd does not answer: there is no {one.control}; is "
        "11-mailhook.conf read, and does Dovecot run?",
        f"{one.state} is missing: install -d -o dovecot -g dovecot -m 2711 "
        f"{one.state}"]
    one.state.mkdir()


# -- dovecot-lda


def lda(dovecot, user):
    return dovecot._run(
        ["setpriv", "--reuid", "5101", "--regid", "5101", "--clear-groups",
         "/usr/lib/dovecot/dovecot-lda", "-c", dovecot.conf, "-d", user,
         "-f", "sender@example.net"], False, 60, message().decode(),
        {**dovecot.environment, "USER": user})


def test_lda_under_its_own_uid_delivers_and_says_it_cannot_append(
        private, receiver):
    dovecot, _, path = private(
        daemon="service", users=[User(ONE, 5101)],
        extra=block("service auth", block("unix_listener auth-userdb",
                                          {"mode": "0666"})))
    os.chmod(dovecot.log_file, 0o666)
    done = lda(dovecot, ONE)
    assert done.returncode == 0, done.stderr + dovecot.log()
    with dovecot.imap(ONE) as imap:
        assert imap.status("INBOX")["messages"] == 1
        imap.ok("CREATE Last")
    receiver.wait(lambda: receiver.answered(path))
    assert [r.type for r in receiver.answered(path)] == ["MailboxCreate"]
    said = [line for line in (dovecot.log() + done.stderr).splitlines()
            if "mailhook" in line.replace(str(dovecot.top), "") and
            ("Error" in line or "Warning" in line)]
    assert len(said) == 1, said
