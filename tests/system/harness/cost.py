"""What the plugin costs a mail process, without a clock: instructions (by
callgrind) and system calls (by strace) of an imap process that runs without a
master. Counts repeat however busy the machine is."""

import os
import re
import shutil
import subprocess
import tempfile
from pathlib import Path

from .dovecot import MAIL_UID

IMAP = "/usr/lib/dovecot/imap"
MAIL = "From: a@example.org\r\nTo: b@example.org\r\nSubject: bench\r\n\r\n" + \
    "0123456789abcdef" * 4 * 63 + "\r\n"


class CannotCount(Exception):
    """The tool is missing, or may not do its work here."""


class Counter:
    """Sessions of one user of a Dovecot that need not run. Each begins with
    the same mail: what the index does once in a while, it does in each or in
    none."""

    def __init__(self, dovecot, messages, user="cost@example.org"):
        self.dovecot, self.user = dovecot, user
        self.home = dovecot.top / "mail" / user
        self.pristine = dovecot.top / "mail" / f"{user}.pristine"
        self.home.mkdir()
        os.chown(self.home, MAIL_UID, MAIL_UID)
        self.session(["CREATE Bench", *["APPEND INBOX {mail}"] * messages,
                      "LOGOUT"])
        self.home.rename(self.pristine)

    def fresh_session(self, commands, *wrapper):
        shutil.rmtree(self.home, ignore_errors=True)
        subprocess.run(["cp", "-a", self.pristine, self.home], check=True)
        self.session(commands, *wrapper)

    def session(self, commands, *wrapper):
        """One command after the other, as a client that waits for answers."""
        environment = {
            **os.environ, "USER": self.user, "HOME": str(self.home),
            **{k: str(v) for k, v in self.dovecot.environment.items()}}
        with subprocess.Popen(
                ["setpriv", f"--reuid={MAIL_UID}", f"--regid={MAIL_UID}",
                 "--groups=dovecot", *wrapper, IMAP, "-k", "-c",
                 str(self.dovecot.conf), "-o", "log_path=/dev/null",
                 # Nobody asks the userdb for it.
                 "-o", f"mail_home={self.home}"],
                stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                stderr=subprocess.PIPE, env=environment) as imap:
            for number, command in enumerate(commands):
                self._command(imap, number, command)
            imap.stdin.close()
            # Until it has ended: a log that nobody reads would end it before
            # it has told of the Logout.
            for output in imap.stdout, imap.stderr:
                output.read()

    @staticmethod
    def _command(imap, number, command):
        literal = command.replace("{mail}", f"{{{len(MAIL)}+}}\r\n{MAIL}")
        imap.stdin.write(f"a{number} {literal}\r\n".encode())
        imap.stdin.flush()
        tag = f"a{number} ".encode()
        for line in imap.stdout:
            if line.startswith(tag + b"OK"):
                return
            if line.startswith(tag):
                break
        else:
            line = b"nothing"
        raise CannotCount(f"{command[:60]}: {line.decode()} "
                          f"{imap.stderr.read().decode()[-2000:]}")

    def instructions(self, commands):
        """Of a whole session."""
        if shutil.which("valgrind") is None:
            raise CannotCount("there is no valgrind")
        with tempfile.TemporaryDirectory() as scratch:
            os.chmod(scratch, 0o777)
            # imap runs itself again after doveconf has read the settings.
            self.fresh_session(
                commands, "valgrind", "--tool=callgrind",
                "--trace-children=yes", f"--log-file={scratch}/log",
                f"--callgrind-out-file={scratch}/out.%p")
            return sum(
                int(re.search(r"^totals: (\d+)", path.read_text(), re.M)[1])
                for path in Path(scratch).glob("out.*"))

    def system_calls(self, commands):
        """For each command the calls until the next one is read, with the
        paths of their descriptors."""
        if shutil.which("strace") is None:
            raise CannotCount("there is no strace")
        with tempfile.TemporaryDirectory() as scratch:
            os.chmod(scratch, 0o777)
            self.fresh_session(commands, "strace", "-f", "-y", "-s", "30",
                               "-o", f"{scratch}/out")
            lines = Path(scratch, "out").read_text(errors="replace")
        calls, current = [], None
        for line in lines.splitlines():
            # PID name(…
            line = line.partition(" ")[2].lstrip()
            if re.match(r'read\(0<[^>]*>, "a\d+ ', line):
                current = []
                calls.append(current)
            elif current is not None and "(" in line:
                current.append(line)
        return calls
