"""A private Dovecot 2.3 on loopback: own directories, ports, users and logs;
stock modules by links beside the plugin under test; the configuration file
that mailhook ships, included as an administrator would."""

import json
import os
import pwd
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

SERVER_NAME = "mail.example.org"
STOCK_MODULES = Path("/usr/lib/dovecot/modules")
MAIL_UID = 5000

CONFIG = """\
base_dir = {top}/run
state_dir = {top}/state
log_path = {top}/log/dovecot.log
instance_name = mailhook-test
hostname = {server_name}
listen = 127.0.0.1
protocols = imap pop3 lmtp
ssl = no
disable_plaintext_auth = no
auth_username_format = %u
default_vsz_limit = 0
mail_plugin_dir = {top}/modules
mail_location = {mail_location}
mail_uid = {uid}
mail_gid = {uid}
first_valid_uid = 1
mailbox_list_index = yes
mail_max_userip_connections = 100
import_environment = TZ {environment}
passdb {{
  driver = static
  args = password={password}
}}
userdb {{
  driver = static
  args = uid={uid} gid={uid} home={top}/mail/%u allow_all_users=yes
}}
namespace inbox {{
  inbox = yes
  separator = /
}}
service stats {{
  unix_listener stats-writer {{
    mode = 0666
  }}
}}
service imap-login {{
  inet_listener imap {{
    port = {imap}
  }}
  inet_listener imaps {{
    port = 0
  }}
}}
service pop3-login {{
  inet_listener pop3 {{
    port = {pop3}
  }}
  inet_listener pop3s {{
    port = 0
  }}
}}
service lmtp {{
  inet_listener lmtp {{
    port = {lmtp}
  }}
}}
{mailhook}
# Like stock Dovecot's 15-lda.conf and 20-imap.conf: read after ours, they
# extend $mail_plugins.
protocol lmtp {{
  mail_plugins = $mail_plugins
}}
protocol imap {{
  mail_plugins = $mail_plugins
}}
{extra}
"""

MAILHOOK = """\
!include {shipped}
plugin {{
  mailhook_dir = {top}/mailhook
}}
service mailhook {{
  executable = {launcher}
}}
"""


def sanitizer_environment(top):
    """The plugin built with sanitizers needs their run-time loaded first
    into stock Dovecot binaries; GDB keeps its symbols there to the end."""
    if not os.environ.get("MAILHOOK_SANITIZE"):
        return {}
    library = subprocess.run(
        ["gcc", "-print-file-name=libasan.so"], check=True, text=True,
        stdout=subprocess.PIPE).stdout.strip()
    return {"GDB": "1", "LD_PRELOAD": os.path.realpath(library),
            "ASAN_OPTIONS": f"log_path={top}/log/asan:detect_leaks=0",
            "UBSAN_OPTIONS": f"log_path={top}/log/ubsan:print_stacktrace=1"}


def free_ports(count):
    sockets = [socket.socket() for _ in range(count)]
    for one in sockets:
        one.bind(("127.0.0.1", 0))
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports


class Dovecot:
    """daemon: "service" (Dovecot runs it), "foreground" (start_daemon() runs
    mailhookd beside it) or None (the plugin alone)."""

    def __init__(self, plugin=True, daemon="service", config="", extra="",
                 mail_location="sdbox:~/sdbox"):
        self.top = Path(tempfile.mkdtemp(prefix="mailhook-"))
        os.chmod(self.top, 0o755)
        self.imap_port, self.pop3_port, self.lmtp_port = free_ports(3)
        self.conf = self.top / "dovecot.conf"
        self.state = self.top / "mailhook"
        self.log_file = self.top / "log" / "dovecot.log"
        self.mailhook_conf = self.top / "etc" / "mailhook.conf"
        self.control = self.top / "run" / "mailhook"
        self.process = None
        self.daemon_process = None
        self.daemon = daemon if plugin else None
        self._make_directories()
        self.configure(config)

        self.environment = {
            "MAILHOOK_DIR": self.state,
            "MAILHOOK_CONFIG": self.mailhook_conf,
            **sanitizer_environment(self.top)}
        environment = " ".join(
            f"{k}={v}" for k, v in self.environment.items())
        mailhook = ""
        if plugin:
            mailhook = MAILHOOK.format(
                shipped=build.SHIPPED_CONF, top=self.top,
                launcher=build.LAUNCHER)
            if self.daemon != "service":
                mailhook += "service mailhook {\n  process_min_avail = 0\n"\
                    "  unix_listener mailhook {\n    mode = 0\n  }\n}\n"
                self.control = self.top / "control" / "socket"
        if plugin and os.environ.get("MAILHOOK_SANITIZE"):
            # AddressSanitizer reserves terabytes of address space.
            mailhook += "service mailhook {\n  vsz_limit = 0\n}\n"
        self.conf.write_text(CONFIG.format(
            top=self.top, server_name=SERVER_NAME, uid=MAIL_UID,
            password=PASSWORD, imap=self.imap_port, pop3=self.pop3_port,
            lmtp=self.lmtp_port, mail_location=mail_location,
            environment=environment, mailhook=mailhook, extra=extra))

    def _make_directories(self):
        for name in ("run", "state", "log", "etc", "modules", "mail"):
            (self.top / name).mkdir()
        os.chown(self.top / "mail", MAIL_UID, MAIL_UID)
        os.chmod(self.top / "log", 0o777)
        dovecot = pwd.getpwnam("dovecot")
        (self.top / "control").mkdir()
        os.chown(self.top / "control", dovecot.pw_uid, dovecot.pw_gid)
        self.state.mkdir()
        os.chown(self.state, dovecot.pw_uid, dovecot.pw_gid)
        os.chmod(self.state, 0o2711)
        for module in STOCK_MODULES.iterdir():
            if "mailhook" not in module.name:
                (self.top / "modules" / module.name).symlink_to(module)
        if build.PLUGIN.exists():
            (self.top / "modules" / build.PLUGIN.name).symlink_to(build.PLUGIN)

    # -- life

    def start(self):
        self.process = subprocess.Popen(
            ["dovecot", "-F", "-c", self.conf], stdin=subprocess.DEVNULL,
            stdout=open(self.top / "log" / "stdout", "ab"),
            stderr=subprocess.STDOUT)
        self._wait_banner(self.imap_port, b"* OK")
        self._wait_banner(self.lmtp_port, b"220 ")
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
                   if path.name.startswith(("asan", "ubsan"))]
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
        dovecot = pwd.getpwnam("dovecot")
        os.chown(new, dovecot.pw_uid, dovecot.pw_gid)
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

    def mailbox_guid(self, user, mailbox):
        out = self.doveadm("-f", "flow", "mailbox", "status", "-u", user,
                           "guid", mailbox).stdout
        return re.search(r"guid=([0-9a-f]{32})", out)[1]
