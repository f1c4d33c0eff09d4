"""What somebody puts where mailhook's files belong, and what a local user who
is not the mail server can do to it: nothing."""

import json
import os
import re
import shutil
import subprocess
import sys

import pytest

from harness.clients import message
from harness.dialect import User
from harness.dovecot import free_ports
from harness.receiver import Answer
from test_recovery import wait_for

MAIL = message()
ONE = "one@example.org"


def goes_on(dovecot):
    """Mail in and out, at once."""
    with dovecot.lmtp() as lmtp:
        lmtp.deliver(MAIL, ONE)
    with dovecot.imap(ONE) as imap:
        imap.append("INBOX", MAIL)
        imap.ok("SELECT INBOX")
        imap.ok("STORE 1:* +FLAGS (\\Seen)")
        return imap.status("INBOX")["messages"]


# -- files that are something else


@pytest.fixture(scope="module")
def bent(serve):
    """A Dovecot whose daemon each test stops and starts."""
    one = serve(daemon="foreground").dovecot
    one.start_daemon()
    assert goes_on(one) == 2
    return one


def obstacle(path, kind, dovecot):
    owner = (dovecot.owner.pw_uid, dovecot.owner.pw_gid)
    if kind == "directory":
        path.mkdir()
        (path / "inside").touch()
    elif kind == "fifo":
        os.mkfifo(path, 0o622)
        os.chown(path, *owner)
    elif kind == "symlink":
        path.symlink_to("/etc/passwd")
    else:
        path.write_text("not yours\n")
        os.chmod(path, 0o600)


def clear(path):
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


KINDS = ("directory", "fifo", "symlink", "foreign")
REGULAR = "{} is not a regular file: move it away"
SAYS = {
    "directory": "{}: it is a directory: move it away",
    "symlink": "{}: it is a symbolic link: move it away",
    "foreign": "{}: Permission denied: give it to mailhookd's user, or "
               "move it away"}
# What has no entry here is replaced by a good one.
EXPECTED = {
    **{(name, kind): "cannot open " + SAYS[kind].format(name)
       for name in ("journal", "presence", "ledger.db") for kind in SAYS},
    **{(name, "fifo"): REGULAR.format(name)
       for name in ("journal", "presence", "ledger.db")},
    ("journal", "directory"): REGULAR.format("journal"),
    ("interest", "directory"):
        "cannot replace " + SAYS["directory"].format("interest")}


def errors_of(dovecot, daemon, since):
    assert daemon.wait(30) == 1
    return [line.split("Error: ")[1]
            for line in dovecot.log()[since:].splitlines()
            if "mailhookd: Error" in line]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", (
    "journal", "presence", "interest", "ledger.db"))
def test_a_file_that_is_something_else(bent, name, kind):
    """Mail goes on; the daemon makes a good file, or says in one sentence
    what is in its way. Nothing outside is touched."""
    dovecot = bent
    path, aside = dovecot.state / name, dovecot.top / "aside"
    passwd = os.stat("/etc/passwd")
    dovecot.stop_daemon()
    path.rename(aside)
    obstacle(path, kind, dovecot)
    before = goes_on(dovecot)
    since = len(dovecot.log())
    daemon = dovecot.start_daemon(wait=False)
    expected = EXPECTED.get((name, kind))
    if expected:
        assert errors_of(dovecot, daemon, since) == \
            [f"{dovecot.state}: {expected}"]
    else:
        dovecot.wait_daemon()
    assert goes_on(dovecot) == before + 2
    after = os.stat("/etc/passwd")
    assert (passwd.st_ino, passwd.st_size, passwd.st_mtime, passwd.st_mode) \
        == (after.st_ino, after.st_size, after.st_mtime, after.st_mode)
    dovecot.stop_daemon()
    if expected:
        clear(path)
        aside.rename(path)
    clear(aside)
    dovecot.start_daemon()
    assert goes_on(dovecot) == before + 4


@pytest.mark.parametrize("kind", KINDS)
def test_the_control_sockets_path(bent, kind):
    dovecot = bent
    dovecot.stop_daemon()
    obstacle(dovecot.control, kind, dovecot)
    since = len(dovecot.log())
    daemon = dovecot.start_daemon(wait=False)
    assert errors_of(dovecot, daemon, since) == [
        f"{dovecot.control} is there and no socket; give another path with "
        "--control"]
    clear(dovecot.control)
    dovecot.start_daemon()


@pytest.mark.parametrize("kind", KINDS)
def test_replaced_while_everything_runs(bent, kind):
    """The daemon keeps what it has open; mail goes on. What is appended to
    nothing is counted, or appended once the path is good again."""
    dovecot = bent
    aside = dovecot.top / "aside"
    with dovecot.imap(ONE) as imap:
        for name in ("journal", "presence", "interest"):
            path = dovecot.state / name
            path.rename(aside)
            obstacle(path, kind, dovecot)
            imap.append("INBOX", MAIL)
            before = goes_on(dovecot)
            clear(path)
            aside.rename(path)
            assert goes_on(dovecot) == before + 2
    assert dovecot.ask("status")["ok"]
    assert dovecot.daemon_process.poll() is None


# -- a local user

# Run as somebody: tries all there is to try and prints what worked.
ATTACK = r"""
import errno, json, os, shutil, signal, socket, sys, tempfile
state, control, conf, base, pids = sys.argv[1:6]
worked = []
mine = tempfile.mkdtemp(dir="/tmp")

def attempt(what, call):
    try:
        call()
    except OSError as error:
        if error.errno not in (errno.EACCES, errno.EPERM):
            worked.append(f"{what}: {error}")
    else:
        worked.append(what)

def connect(path):
    with socket.socket(socket.AF_UNIX) as one:
        one.connect(path)

names = ["journal", "journal.1", "presence", "interest", "ledger.db",
         "ledger.db-wal", "ledger.lock"]
for name in names:
    path = f"{state}/{name}"
    if not os.path.lexists(path):
        continue
    for mode, flags in (("read", os.O_RDONLY), ("write", os.O_WRONLY),
                        ("append", os.O_WRONLY | os.O_APPEND),
                        ("truncate", os.O_WRONLY | os.O_TRUNC)):
        attempt(f"{mode} {name}", lambda: os.close(os.open(path, flags)))
    attempt(f"truncate() {name}", lambda: os.truncate(path, 0))
    attempt(f"unlink {name}", lambda: os.unlink(path))
    attempt(f"rename {name}", lambda: os.rename(path, path + ".gone"))
    open(f"{mine}/forged", "w").close()
    attempt(f"replace {name}", lambda: os.rename(f"{mine}/forged", path))
    attempt(f"chmod {name}", lambda: os.chmod(path, 0o666))
    attempt(f"link {name}", lambda: os.link(path, f"{mine}/{name}"))
attempt("list the directory", lambda: os.listdir(state))
for name in ("journal.99", "journal.tmp", "presence.tmp", "interest.tmp",
             "ledger.db.corrupt-1"):
    attempt(f"make {name}", lambda: os.close(os.open(
        f"{state}/{name}", os.O_WRONLY | os.O_CREAT | os.O_EXCL)))
attempt("watch the directory's files", lambda: os.mkdir(f"{state}/x"))
attempt("connect", lambda: connect(control))
attempt("unlink the socket", lambda: os.unlink(control))
for name in ("mailhook", "mailhook.sock", "auth-mailhook"):
    attempt(f"make {name} in base_dir",
            lambda: os.mkdir(f"{base}/{name}.mine"))
attempt("read mailhook.conf", lambda: open(conf).read())
attempt("write mailhook.conf", lambda: open(conf, "a"))
for pid in pids.split(","):
    for number in (signal.SIGTERM, signal.SIGKILL, signal.SIGHUP,
                   signal.SIGSTOP, 0):
        attempt(f"signal {number}", lambda: os.kill(int(pid), number))
    for name in ("environ", "mem", "maps", "fd/0", "cwd/x", "root/x", "io",
                 "stack"):
        attempt(f"read {name}",
                lambda: open(f"/proc/{pid}/{name}", "rb").read(1))
shutil.rmtree(mine)
print(json.dumps(worked))
"""

LOCAL_SETUPS = {
    "virtual": {},
    "system": {"users": [User(ONE, 5101), User("two@example.org", 5102)]},
    "rootless": {"rootless": True},
}


def attack(dovecot, *identity):
    done = subprocess.run(
        ["setpriv", *identity, sys.executable, "-c", ATTACK,
         str(dovecot.state), str(dovecot.control),
         str(dovecot.mailhook_conf), str(dovecot.top / "run"),
         ",".join(map(str, dovecot.daemon_pids()))],
        stdout=subprocess.PIPE, text=True, check=True, timeout=60)
    return json.loads(done.stdout)


NOBODY = ("--reuid", "nobody", "--regid", "nogroup", "--clear-groups")


@pytest.mark.parametrize("setup", LOCAL_SETUPS)
def test_a_local_user_can_do_nothing(private, receiver, setup):
    """Neither read nor forge nor block; nor can somebody with mail here who
    is not in one of Dovecot's processes."""
    dovecot, _, path = private(daemon="service", **LOCAL_SETUPS[setup])
    with dovecot.lmtp() as lmtp:
        lmtp.deliver(MAIL, ONE)
    receiver.wait(lambda: receiver.answered(path))
    assert attack(dovecot, *NOBODY) == []
    if setup == "system":
        assert attack(dovecot, "--reuid", "5102", "--regid", "5102",
                      "--clear-groups") == []
    # And everything is as it was.
    with dovecot.lmtp() as lmtp:
        lmtp.deliver(MAIL, ONE)
    receiver.wait(lambda: len(receiver.answered(path)) == 2)
    assert dovecot.ask("status")["ok"]


def test_the_attack_would_succeed(private):
    """Against rights that are too wide it finds what can be done."""
    dovecot, _, _ = private(daemon="service")
    os.chmod(dovecot.state, 0o755)
    os.chmod(dovecot.state / "journal", 0o666)
    os.chmod(dovecot.control, 0o666)
    worked = attack(dovecot, *NOBODY)
    for what in ("read journal", "append journal", "list the directory",
                 "connect"):
        assert what in worked


def test_a_mail_process_reads_nobody_elses_events(private, receiver):
    """As the group of mail processes: append, and count what is lost; not
    read, nor make or remove."""
    dovecot, _, path = private(daemon="service")
    with dovecot.lmtp() as lmtp:
        lmtp.deliver(MAIL, ONE)
    receiver.wait(lambda: receiver.answered(path))
    group = dovecot.state.stat().st_gid
    worked = attack(dovecot, "--reuid", "5000", "--regid", "5000",
                    "--groups", str(group))
    assert set(worked) == {
        "write journal", "append journal", "truncate journal",
        "truncate() journal", "read interest", "read presence",
        "write presence", "append presence", "link presence",
        "truncate presence",
        "truncate() presence"}


# -- the process


@pytest.mark.parametrize("daemon", ("service", "foreground"))
def test_the_daemon_has_given_everything_up(private, daemon):
    if os.environ.get("MAILHOOK_SANITIZE"):
        return # the sanitizers' run-time would not work in it
    dovecot, _, _ = private(daemon=daemon)
    pid, = dovecot.daemon_pids()
    status = dict(
        line.split(":\t", 1) for line in
        open(f"/proc/{pid}/status", encoding="ascii").read().splitlines())
    assert status["Seccomp"] == "2"
    assert status["NoNewPrivs"] == "1"
    for name in ("CapPrm", "CapEff", "CapInh"):
        assert int(status[name], 16) == 0
    assert set(status["Uid"].split()) == {str(dovecot.owner.pw_uid)}
    limits = open(f"/proc/{pid}/limits", encoding="ascii").read()
    assert re.search(r"Max core file size +0 +0 ", limits)
    # An undumpable process's files in /proc are root's.
    assert os.stat(f"/proc/{pid}/environ").st_uid == 0
    assert "works as well" not in dovecot.log()


def test_mail_processes_hand_nothing_on(private, receiver):
    """Every descriptor below mailhook_dir closes on exec, as imap's
    hibernation, a Sieve pipe and the like do."""
    dovecot, _, path = private()
    seen = set()
    with dovecot.imap(ONE) as imap:
        imap.append("INBOX", MAIL)
        receiver.wait(lambda: receiver.answered(path))
        for pid in filter(str.isdigit, os.listdir("/proc")):
            if pid == str(dovecot.daemon_process.pid):
                continue
            try:
                for fd in os.listdir(f"/proc/{pid}/fd"):
                    target = os.readlink(f"/proc/{pid}/fd/{fd}")
                    if not target.startswith(str(dovecot.state)):
                        continue
                    with open(f"/proc/{pid}/fdinfo/{fd}",
                              encoding="ascii") as info:
                        flags = re.search(r"flags:\s+(\d+)", info.read())[1]
                    assert int(flags, 8) & os.O_CLOEXEC, target
                    seen.add(os.path.basename(target))
            except (FileNotFoundError, PermissionError, ProcessLookupError):
                continue # gone, or of another container
    assert {"journal", "presence", "mailhook"} <= seen


# -- what is logged

WORDS = ("Zanzibarsubject", "Quagmirebody", "Velociheader", "Proxypassw0rd",
         "Bearert0ken", "Urlt0ken", "Headerv4lue", "Answerw0rd")


def test_nothing_secret_is_logged(private, receiver):
    """Whatever goes wrong: no secret, no password, no token, nothing of a
    message stands in a log."""
    dovecot, configuration, path = private(endpoint={
        "parameters": '{"messageContent", "headers", "envelope"}'})
    secrets = list(receiver.secrets[path])
    bearer = dovecot.top / "etc" / "bearer"
    bearer.write_text(WORDS[4] + "\n")
    os.chown(bearer, dovecot.owner.pw_uid, dovecot.owner.pw_gid)
    os.chmod(bearer, 0o600)
    closed, = free_ports(1)
    failing = configuration.add("failing", bearer_file=f'"{bearer}"',
                                headers=f'{{"X-Key: {WORDS[6]}"}}')
    receiver.script(failing, *[Answer(
        500, {"X-Echo": WORDS[7]}, body=WORDS[7].encode() * 10)] * 3)
    configuration.add("refused",
                      url=f"http://127.0.0.1:{closed}/{WORDS[5]}?{WORDS[5]}")
    configuration.add("proxied", proxy=(
        f'"http://user:{WORDS[3]}@127.0.0.1:{closed}"'))
    configuration.add("nowhere", url=f"https://nowhere.invalid/{WORDS[5]}")
    configuration.apply()
    for one in receiver.secrets.values():
        secrets += one
    mail = message(WORDS[0], f"{WORDS[1]}\n", X_Test=WORDS[2])
    with dovecot.lmtp() as lmtp:
        lmtp.deliver(mail, ONE)
    with dovecot.imap(ONE) as imap:
        imap.append("INBOX", mail)
        imap.ok("SELECT INBOX")
    wait_for(lambda: all(
        one["failed"] or one["answered"]
        for one in dovecot.ask("status")["endpoints"]), "attempts")
    good = dovecot.mailhook_conf.read_text()
    secret = secrets[-1]
    for bad in (good.replace("secret = {", "secret = {\n"),
                good.replace('secret = {"', 'secret = {'),
                good.replace("whsec_", "whsec-"),
                good.replace(secret, secret[:20]),
                good.replace("proxy", "proxi"),
                good.replace("http://user:", "htp://user:"),
                good.replace("X-Key: ", "X Key "),
                f'endpoint x {{ secret = {{"{secret}" "{secret}"}} }}\n',
                f'{secret}\n', f'url "{WORDS[5]}"\n',
                good.replace(str(bearer), "/nowhere")):
        dovecot.configure(bad)
        dovecot.ask("reload")
    # A record that nobody can read.
    with open(dovecot.state / "journal", "ab") as journal:
        journal.write(f"\x1e{{{WORDS[1]}}}\n{WORDS[1]}".encode())
    dovecot.configure(good)
    dovecot.ask("reload")
    dovecot.stop_daemon()
    dovecot.configure(good.replace('secret = {"', 'secret = {'))
    dovecot.start_daemon(wait=False).wait(30)
    log = dovecot.log()
    assert "failing" in log and "mailhookd: Error" in log
    for word in (*WORDS, *secrets, *(one[6:22] for one in secrets)):
        found = [line for line in log.splitlines() if word in line]
        assert not found, found[:3]
