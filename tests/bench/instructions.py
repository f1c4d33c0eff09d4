#!/usr/bin/env python3
"""What mailhook costs a mail operation, without a clock: instructions (by
callgrind) and system calls (by strace) of an imap process, the same commands
with and without the plugin. Counts repeat to within a fraction of a percent
however busy the machine is.

    tests/bench/instructions.py [operation...]

needs a build that tests/system/prepare.sh made, and valgrind and strace.
"""

import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "system"))

from harness.dovecot import MAIL_UID, Dovecot  # noqa: E402

IMAP = "/usr/lib/dovecot/imap"
MAIL = "From: a@example.org\r\nTo: b@example.org\r\nSubject: bench\r\n\r\n" + \
    "0123456789abcdef" * 4 * 63 + "\r\n"

# Commands of one operation; {n} counts. Each is measured as the difference
# between MANY and FEW repetitions, so that what a session costs drops out.
OPERATIONS = {
    "STORE one": ["STORE 1 +FLAGS (\\Flagged)", "STORE 1 -FLAGS (\\Flagged)"],
    "STORE thousand": ["STORE 1:1000 +FLAGS (\\Flagged)",
                       "STORE 1:1000 -FLAGS (\\Flagged)"],
    "APPEND": ["APPEND Bench {mail}"],
    "EXPUNGE thousand": ["COPY 1:1000 Bench", "SELECT Bench",
                         "STORE 1:* +FLAGS.SILENT (\\Deleted)", "EXPUNGE",
                         "SELECT INBOX"],
    "NOOP": ["NOOP"],
}
FEW, MANY = 3, 13

ENDPOINT = """\
server_name = "mail.example.org"
endpoint all {
    url = "http://127.0.0.1:9/"
    secret = {"whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSwMfKQ9r8GKYqrTwjU"}
}
"""


def script(commands, times):
    return ["SELECT INBOX", "NOOP", *commands * times, "LOGOUT"]


class Variant:
    """One configuration; sessions run in it by hand, without a master."""

    def __init__(self, name, plugin, interest):
        self.name = name
        self.dovecot = Dovecot(plugin=plugin, daemon="foreground",
                               config=ENDPOINT if interest else "")
        if interest:
            self.dovecot.start_daemon()
        self.user = f"{name.replace(' ', '-')}@example.org"
        self.home = self.dovecot.top / "mail" / self.user
        self._fill()

    def _environment(self):
        return {**os.environ, "USER": self.user, "HOME": str(self.home),
                **{k: str(v) for k, v in self.dovecot.environment.items()}}

    def _command(self):
        groups = "dovecot" if self.dovecot else ""
        return ["setpriv", f"--reuid={MAIL_UID}", f"--regid={MAIL_UID}",
                f"--groups={groups}"]

    def fresh_session(self, commands, *wrapper):
        """The same mail and the same index each time: what the index does
        once in a while, it does in each session or in none."""
        shutil.rmtree(self.home)
        subprocess.run(["cp", "-a", self.pristine, self.home], check=True)
        self.session(commands, *wrapper)

    def session(self, commands, *wrapper):
        """One command after the other, as a client that waits for answers."""
        with subprocess.Popen(
                [*self._command(), *wrapper, IMAP, "-k", "-c",
                 str(self.dovecot.conf), "-o", "log_path=/dev/null"],
                stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                stderr=subprocess.PIPE, env=self._environment()) as imap:
            for number, command in enumerate(commands):
                command = command.replace(
                    "{mail}", f"{{{len(MAIL)}+}}\r\n{MAIL}")
                imap.stdin.write(f"a{number} {command}\r\n".encode())
                imap.stdin.flush()
                tag = f"a{number} ".encode()
                for line in imap.stdout:
                    if line.startswith(tag):
                        break
                else:
                    line = b"nothing"
                if not line.startswith(tag + b"OK"):
                    raise SystemExit(f"{self.name}: {command[:60]}: {line} "
                                     f"{imap.stderr.read()[-2000:]}")
            imap.stdin.close()

    def _fill(self):
        self.home.mkdir()
        os.chown(self.home, MAIL_UID, MAIL_UID)
        self.session(["CREATE Bench", *["APPEND INBOX {mail}"] * 1000,
                      "LOGOUT"])
        self.pristine = self.home.with_name(f"{self.home.name}.pristine")
        self.home.rename(self.pristine)
        subprocess.run(["cp", "-a", self.pristine, self.home], check=True)

    def instructions(self, commands):
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
        with tempfile.TemporaryDirectory() as scratch:
            os.chmod(scratch, 0o777)
            self.fresh_session(commands, "strace", "-f", "-o",
                               f"{scratch}/out")
            return sum(1 for line in open(f"{scratch}/out", "rb")
                       if b"(" in line)

    def each(self, count, commands):
        few = count(script(commands, FEW))
        many = count(script(commands, MANY))
        return (many - few) / (MANY - FEW)


def main(wanted):
    variants = [Variant("without", False, False),
                Variant("nothing subscribed", True, False),
                Variant("everything subscribed", True, True)]
    print(f"{'operation':18}{'variant':24}{'instructions':>14}{'ratio':>8}"
          f"{'calls':>8}")
    try:
        for name, commands in OPERATIONS.items():
            if wanted and name not in wanted:
                continue
            base = None
            for variant in variants:
                count = variant.each(variant.instructions, commands)
                calls = variant.each(variant.system_calls, commands)
                base = base or count
                print(f"{name:18}{variant.name:24}{count:14,.0f}"
                      f"{count / base:8.3f}{calls:8.1f}", flush=True)
    finally:
        for variant in variants:
            variant.dovecot.remove()


if __name__ == "__main__":
    main(sys.argv[1:])
