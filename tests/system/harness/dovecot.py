"""A private Dovecot on loopback: own directories, ports, users and logs;
stock modules by links beside the plugin under test; the configuration file
that mailhook ships, included as an administrator would. What differs between
Dovecot 2.3 and 2.4 is in dialect.py."""

import json
import os
import pwd
import random
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path

from . import build
from .clients import PASSWORD, Imap, Lmtp, Pop3
from .dialect import DIALECT, Namespace, block

SERVER_NAME = "mail.example.org"
MAIL_UID = 5000
# Who runs a Dovecot without root; every Debian has this user.
ROOTLESS = "www-data"

# Of the file system, only $1 and /tmp (where doveconf of 2.4 puts a file) can
# be written to, and there is no /run.
READ_ONLY = """\
mount --bind /tmp /tmp && mount --bind "$1" "$1" &&
	mount -t tmpfs -o mode=0 tmpfs /run &&
	mount -o remount,bind,ro / || exit 1
user=$2
shift 2
exec setpriv --reuid "$user" --regid "$user" --clear-groups \\
	--bounding-set=-all "$@"
"""


def sanitizer_environment(top):
    """The plugin built with sanitizers (MAILHOOK_SANITIZE=1) needs their
    run-time loaded first into stock Dovecot binaries; GDB keeps its symbols
    there to the end. "thread": mailhookd alone is built with
    ThreadSanitizer. "coverage": counters go into the build directory."""
    kind = os.environ.get("MAILHOOK_SANITIZE")
    if not kind:
        return {}
    if kind == "coverage":
        return {"MAILHOOK_SANDBOX": "off"}
    if kind == "thread":
        return {"MAILHOOK_SANDBOX": "off",
                "TSAN_OPTIONS": f"log_path={top}/log/tsan"}
    library = subprocess.run(
        ["gcc", "-print-file-name=libasan.so"], check=True, text=True,
        stdout=subprocess.PIPE).stdout.strip()
    return {"GDB": "1", "LD_PRELOAD": os.path.realpath(library),
            # Their reports go to files, and leak checks trace.
            "MAILHOOK_SANDBOX": "off",
            "ASAN_OPTIONS": f"log_path={top}/log/asan:detect_leaks=0",
            "UBSAN_OPTIONS": f"log_path={top}/log/ubsan:print_stacktrace=1"}


def free_ports(count):
    """Below those that the kernel gives to outgoing connections: one of
    these would take the port before its server listens there."""
    sockets = []
    while len(sockets) < count:
        one = socket.socket()
        try:
            one.bind(("127.0.0.1", random.randrange(10240, 32768)))
        except OSError:
            one.close()
            continue
        sockets.append(one)
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports


def let_in(path):
    """Mail processes and the daemon may enter it and read there; what pytest
    makes is its own user's alone."""
    for one in (path, *path.parents):
        mode = one.stat().st_mode
        if mode & 0o005 != 0o005:
            one.chmod(mode | 0o755)


VALGRIND = Path(__file__).with_name("valgrind.supp")


def under_valgrind(top):
    """MAILHOOK_VALGRIND: every mail process runs under it. What it finds is
    in log/valgrind.PID; without a finding the file is empty."""
    command = ("/usr/bin/env GDB=1 /usr/bin/valgrind -q --vgdb=no "
               "--leak-check=full --errors-for-leak-kinds=definite "
               "--show-leak-kinds=definite "
               f"--suppressions={VALGRIND} "
               f"--log-file={top}/log/valgrind.%p /usr/lib/dovecot/")
    return "".join(
        block(f"service {name}", {"executable": command + name,
                                  "vsz_limit": DIALECT.unlimited})
        for name in ("imap", "lmtp", "pop3"))


class Dovecot:
    """daemon: "service" (Dovecot runs it), "foreground" (start_daemon() runs
    mailhookd beside it) or None (the plugin alone).

    The rest says what this Dovecot can do; whatever has to go into
    mail_plugins for it does:

    protocols       of imap pop3 lmtp submission sieve; their ports are
                    ports["imap"] and so on
    mail_driver     where mail is kept: sdbox, mdbox or maildir
    mail_plugins    more of them: {"imap": ("imap_quota",)}, "" for all
    users           a list of dialect.User; None: everybody with PASSWORD
    separator       of the inbox's namespace
    master_users    a password: USER*MASTER acts as USER
    namespaces      a list of dialect.Namespace beside the inbox
    quota           a list of dialect.QuotaRoot
    acl, metadata   True: ACLs and shared mailboxes, IMAP METADATA
    sieve           True, or the text of a script for everybody, which runs
                    before those that sieve_script() gives to one user
    imapsieve       {mailbox: text of a script}
    hibernate       a duration ("2s") after which IDLE sessions hibernate
    relay_port      of the server on loopback that submission sends to
    rootless        True: one user who is not root runs all of it and owns
                    the mail, on a read-only root file system without /run
    tls             True, or a list of more server names (SNI); IMAP and POP3
                    with TLS are on ports["imaps"] and ports["pop3s"]
    environment     more variables for its processes
    extra           configuration text, last
    """

    def __init__(self, plugin=True, daemon="service", config="", extra="",
                 protocols=("imap", "pop3", "lmtp"), mail_driver="sdbox",
                 separator="/",
                 mail_plugins=None, users=None, master_users=None,
                 namespaces=(), quota=(), acl=False, metadata=False,
                 sieve=None, imapsieve=None, hibernate=None, relay_port=25,
                 rootless=False, tls=None, environment=None):
        self.top = Path(tempfile.mkdtemp(prefix="mailhook-"))
        os.chmod(self.top, 0o755)
        self.conf = self.top / "dovecot.conf"
        self.state = self.top / "mailhook"
        self.log_file = self.top / "log" / "dovecot.log"
        self.mailhook_conf = self.top / "etc" / "mailhook.conf"
        self.control = self.top / "run" / "mailhook"
        self.process = None
        self.daemon_process = None
        self.daemon = daemon if plugin else None
        self.rootless = rootless
        self.owner = pwd.getpwnam(ROOTLESS if rootless else "dovecot")
        self.mail_uid = self.owner.pw_uid if rootless else MAIL_UID
        self._make_directories()
        self.configure(config)
        self.environment = {
            "MAILHOOK_DIR": self.state,
            "MAILHOOK_CONFIG": self.mailhook_conf,
            **sanitizer_environment(self.top)}
        for name, value in (environment or {}).items():
            # AddressSanitizer wants to be the first in LD_PRELOAD.
            before = self.environment.get(name)
            self.environment[name] = f"{before}:{value}" if before else value

        listeners = list(protocols)
        if tls:
            listeners += [one for one in ("imaps", "pop3s")
                          if one[:-1] in protocols]
        self.ports = dict(zip(listeners, free_ports(len(listeners))))
        for name in ("imap", "pop3", "lmtp"):
            setattr(self, f"{name}_port", self.ports.get(name))

        self._plugins = {"": ()}
        for protocol, names in (mail_plugins or {}).items():
            self._add_plugins(protocol, *names)
        features = self._features(quota, acl, metadata, sieve, imapsieve,
                                  hibernate, tls)
        if "submission" in protocols:
            features += DIALECT.relay(relay_port)
        self.conf.write_text("".join((
            self._base(protocols, mail_driver),
            self._users(users, master_users),
            DIALECT.namespaces([Namespace("inbox", inbox=True,
                                          separator=separator),
                                *namespaces], f"{self.top}/mail"),
            DIALECT.services(self.ports),
            self._mailhook() if plugin else "",
            # Read after ours, like stock Dovecot's 15-lda.conf, 20-imap.conf
            # and 20-lmtp.conf: they extend $mail_plugins.
            DIALECT.mail_plugins({**dict.fromkeys(protocols, ()),
                                  **self._plugins}),
            under_valgrind(self.top) if os.environ.get("MAILHOOK_VALGRIND")
            else "",
            features, extra)))

    # -- dovecot.conf

    def _base(self, protocols, mail_driver):
        settings = {
            "base_dir": self.top / "run",
            "state_dir": self.top / "state",
            "log_path": self.log_file,
            "instance_name": "mailhook-test",
            "hostname": SERVER_NAME,
            "listen": "127.0.0.1",
            "protocols": protocols,
            "ssl": "no",
            "mail_plugin_dir": self.top / "modules",
            "mail_uid": self.mail_uid,
            "mail_gid": self.mail_uid,
            "first_valid_uid": 1,
            "mailbox_list_index": "yes",
            "mail_max_userip_connections": 100}
        if self.rootless:
            settings.update({
                "mail_temp_dir": self.top / "state",
                **dict.fromkeys(("default_internal_user",
                                 "default_internal_group",
                                 "default_login_user"), ROOTLESS)})
        return (DIALECT.base(settings, self.environment) +
                DIALECT.mail(mail_driver, f"~/{mail_driver}") +
                (DIALECT.without_chroot() if self.rootless else "") +
                block("service stats", block("unix_listener stats-writer",
                                             {"mode": "0666"})))

    def _users(self, users, master_users):
        home = f"{self.top}/mail/{{user}}"
        text = ""
        if master_users:
            text += DIALECT.master_users(master_users)
        if users is None:
            return text + DIALECT.static_users(
                PASSWORD, self.mail_uid, self.mail_uid, home)
        self.change_users(users)
        return text + DIALECT.file_users(self.top / "etc" / "users")

    def change_users(self, users):
        """What the next login of each finds."""
        for user in users:
            home = self.top / "mail" / user.name
            if not home.exists():
                home.mkdir(mode=0o700)
                os.chown(home, user.uid,
                         user.uid if user.gid is None else user.gid)
        path = self.top / "etc" / "users"
        new = path.with_suffix(".new")
        new.write_text(DIALECT.passwd_file(
            users, f"{self.top}/mail/{{user}}"))
        if path.exists():
            # Auth looks once a second, and only if the size or the second
            # has changed reads it again.
            later = path.stat().st_mtime + 1
            os.utime(new, (later, later))
            time.sleep(1.01 - time.time() % 1)
        new.rename(path)

    def _mailhook(self):
        text = DIALECT.mailhook(build.SHIPPED_CONF, build.LAUNCHER,
                                self.state)
        if self.daemon != "service":
            text += block("service mailhook", {"process_min_avail": 0},
                          block("unix_listener mailhook", {"mode": 0}))
            self.control = self.top / "control" / "socket"
        if os.environ.get("MAILHOOK_SANITIZE"):
            # AddressSanitizer reserves terabytes of address space.
            text += block("service mailhook",
                          {"vsz_limit": DIALECT.unlimited})
        return text

    def _add_plugins(self, protocol, *names):
        self._plugins[protocol] = self._plugins.get(protocol, ()) + names

    def _features(self, quota, acl, metadata, sieve, imapsieve, hibernate,
                  tls):
        text = ""
        if quota:
            self._add_plugins("", "quota")
            self._add_plugins("imap", "imap_quota")
            text += DIALECT.quota(quota)
        if acl:
            self._add_plugins("", "acl")
            self._add_plugins("imap", "imap_acl")
            text += DIALECT.acl(self.top / "mail" / "shared-mailboxes")
        if metadata:
            text += DIALECT.metadata()
        if sieve:
            self._add_plugins("lmtp", "sieve")
            self._add_plugins("lda", "sieve")
            text += DIALECT.sieve(self._script("before", sieve)
                                  if sieve is not True else None)
        if imapsieve:
            self._add_plugins("imap", "imap_sieve")
            text += DIALECT.imapsieve(
                {mailbox: self._script(f"in-{n}", script)
                 for n, (mailbox, script) in enumerate(imapsieve.items())})
        if hibernate:
            text += DIALECT.hibernation(hibernate)
        if tls:
            text += self._tls([] if tls is True else tls)
        return text

    def _script(self, name, text):
        """A Sieve script of the administrator's; compiled by mail users."""
        directory = self.top / "sieve"
        directory.mkdir(exist_ok=True)
        os.chown(directory, self.mail_uid, self.mail_uid)
        path = directory / f"{name}.sieve"
        path.write_text(text)
        return path

    def _tls(self, names):
        """One self-signed certificate for each name."""
        made = {}
        for name in (SERVER_NAME, *names):
            cert, key = (self.top / "etc" / f"{name}.{end}"
                         for end in ("pem", "key"))
            subprocess.run(
                ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt",
                 "ec_paramgen_curve:P-256", "-nodes", "-days", "30", "-subj",
                 f"/CN={name}", "-addext", f"subjectAltName=DNS:{name}",
                 "-keyout", key, "-out", cert], check=True,
                stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL)
            made[name] = (cert, key)
        return DIALECT.tls(*made.pop(SERVER_NAME), made)

    def _make_directories(self):
        for name in ("run", "state", "log", "etc", "modules", "mail"):
            (self.top / name).mkdir()
        os.chown(self.top / "mail", self.mail_uid, self.mail_uid)
        os.chmod(self.top / "log", 0o777)
        (self.top / "control").mkdir()
        self.state.mkdir()
        owned = [self.top / "control", self.state]
        if self.rootless:
            owned += [self.top / "run", self.top / "state"]
        for path in owned:
            os.chown(path, self.owner.pw_uid, self.owner.pw_gid)
        os.chmod(self.state, 0o2711)
        for module in build.STOCK_MODULES.iterdir():
            if "mailhook" not in module.name:
                (self.top / "modules" / module.name).symlink_to(module)
        if build.PLUGIN.exists():
            (self.top / "modules" / build.PLUGIN.name).symlink_to(build.PLUGIN)

    # -- life

    def start(self):
        command = ["dovecot", "-F", "-c", self.conf]
        if self.rootless:
            command = ["unshare", "--mount", "--propagation", "private", "sh",
                       "-c", READ_ONLY, "sh", self.top, ROOTLESS, *command]
        self.process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL,
            stdout=open(self.top / "log" / "stdout", "ab"),
            stderr=subprocess.STDOUT)
        for name, banner in (("imap", b"* OK"), ("lmtp", b"220 ")):
            if name in self.ports:
                self._wait_banner(self.ports[name], banner)
        if self.daemon == "service":
            self.wait_daemon()
        return self

    def _wait_banner(self, port, start):
        """The port opens before auth is ready; the banner comes after."""
        end = time.monotonic() + 60
        while time.monotonic() < end:
            if self.process.poll() is not None:
                break
            try:
                with socket.create_connection(("127.0.0.1", port), 5) as one:
                    one.settimeout(20)
                    if one.recv(100).startswith(start):
                        return
            except OSError:
                pass
            time.sleep(0.05)
        raise RuntimeError("Dovecot did not start:\n" + self.log())

    def wait_daemon(self):
        """Until the daemon answers and has published its interest."""
        end = time.monotonic() + 60
        error = "no interest"
        while time.monotonic() < end:
            try:
                if self.ask("status")["ok"] and \
                        (self.state / "interest").exists():
                    return
            except (OSError, ValueError) as failure:
                error = failure
            if self.daemon_process and self.daemon_process.poll() is not None:
                break
            time.sleep(0.05)
        raise RuntimeError(f"mailhookd did not start: {error}\n{self.log()}")

    def ask(self, command, **fields):
        """One command on the daemon's control socket."""
        with socket.socket(socket.AF_UNIX) as one:
            one.settimeout(30)
            one.connect(str(self.control))
            one.sendall(json.dumps(
                {"command": command, **fields}).encode() + b"\n")
            with one.makefile("rb") as answer:
                return json.loads(answer.readline())

    def stop(self):
        self.stop_daemon()
        if self.process and self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(30)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()

    def remove(self):
        self.stop()
        reports = [path for path in (self.top / "log").iterdir()
                   if path.name.startswith(("asan", "tsan", "ubsan")) or
                   path.name.startswith("valgrind") and path.stat().st_size]
        if reports:
            raise AssertionError("the sanitizers complain:\n" + "\n".join(
                path.read_text("utf-8", "replace") for path in reports))
        if not os.environ.get("MAILHOOK_KEEP"):
            shutil.rmtree(self.top, ignore_errors=True)

    def __enter__(self):
        try:
            return self.start()
        except BaseException:
            self.remove()
            raise

    def __exit__(self, *exc):
        self.remove()

    def reload(self):
        self.process.send_signal(signal.SIGHUP)

    def log(self):
        text = ""
        for path in sorted((self.top / "log").iterdir()):
            text += path.read_text("utf-8", "replace")
        return text

    # -- mailhookd in the foreground

    def start_daemon(self, wait=True):
        assert self.process is None or self.daemon != "service"
        log = open(self.top / "log" / "mailhookd.log", "ab")
        self.daemon_process = subprocess.Popen(
            [build.DAEMON, "--user", "dovecot", "--config",
             self.mailhook_conf, "--dir", self.state, "--control",
             self.control],
            stdin=subprocess.DEVNULL, stdout=log, stderr=log,
            env={**os.environ, **sanitizer_environment(self.top)})
        if wait:
            self.wait_daemon()
        return self.daemon_process

    def stop_daemon(self, how=signal.SIGTERM):
        if self.daemon_process and self.daemon_process.poll() is None:
            self.daemon_process.send_signal(how)
            self.daemon_process.wait(30)
        self.daemon_process = None

    def daemon_pids(self):
        """Every mailhookd that serves this instance, Dovecot's too."""
        found = []
        for entry in Path("/proc").iterdir():
            if not entry.name.isdigit():
                continue
            try:
                command = (entry / "cmdline").read_bytes()
                environ = (entry / "environ").read_bytes()
                state = (entry / "stat").read_text().rsplit(")", 1)[1].split()
            except OSError:
                continue
            name = os.path.basename(command.split(b"\0")[0])
            if name.split(b" ")[0] in (b"mailhookd", b"mailhook") and \
                    str(self.top).encode() in command + environ and \
                    state[0] != "Z":
                found.append(int(entry.name))
        return found

    def configure(self, text):
        """Writes mailhook.conf (0600, dovecot's), in place at once."""
        new = self.mailhook_conf.with_suffix(".new")
        new.write_text(text)
        os.chmod(new, 0o600)
        os.chown(new, self.owner.pw_uid, self.owner.pw_gid)
        new.rename(self.mailhook_conf)

    # -- tools

    def ctl(self, *args, check=True, timeout=60):
        return self._run([build.CTL, "--control", self.control, *args],
                         check, timeout)

    def doveadm(self, *args, check=True, input=None):
        """As an administrator's cron job: not through Dovecot's master."""
        return self._run(["doveadm", "-c", self.conf, *args], check, 60,
                         input, self.environment)

    def _run(self, command, check, timeout, input=None, environment=None):
        environment = {
            **os.environ,
            **{k: str(v) for k, v in (environment or {}).items()}}
        given = {"input": input} if input is not None else \
            {"stdin": subprocess.DEVNULL}
        done = subprocess.run([str(part) for part in command], text=True,
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                              timeout=timeout, env=environment, **given)
        if check and done.returncode != 0:
            raise AssertionError(
                f"{' '.join(map(str, command))}: exit {done.returncode}\n"
                f"{done.stdout}{done.stderr}")
        return done

    def imap(self, user):
        return Imap(self.imap_port, user)

    def pop3(self, user):
        return Pop3(self.pop3_port, user)

    def lmtp(self):
        return Lmtp(self.lmtp_port)

    def sieve_script(self, user, text):
        """Becomes that user's active script."""
        home = self.top / "mail" / user
        home.mkdir(exist_ok=True)
        path = home / ".dovecot.sieve"
        path.write_text(text)
        for one in (home, path):
            os.chown(one, self.mail_uid, self.mail_uid)

    def mailbox_guid(self, user, mailbox):
        out = self.doveadm("-f", "flow", "mailbox", "status", "-u", user,
                           "guid", mailbox).stdout
        return re.search(r"guid=([0-9a-f]{32})", out)[1]
