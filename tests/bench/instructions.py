#!/usr/bin/env python3
"""What mailhook costs a mail operation, without a clock: instructions (by
callgrind) and system calls (by strace) of an imap process, the same commands
with and without the plugin. Counts repeat to within a fraction of a percent
however busy the machine is.

    tests/bench/instructions.py [operation...]

needs a build that tests/system/prepare.sh made, and valgrind and strace.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "system"))

from harness.cost import Counter  # noqa: E402
from harness.dovecot import Dovecot  # noqa: E402

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
# All of it, from the start of the process to its end.
SESSION = "session"
FEW, MANY = 3, 13

ENDPOINT = """\
server_name = "mail.example.org"
endpoint all {
    url = "http://127.0.0.1:9/"
    secret = {"whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSwMfKQ9r8GKYqrTwjU"}
    %s
}
"""


def script(commands, times):
    return ["SELECT INBOX", "NOOP", *commands * times, "LOGOUT"]


class Variant:
    def __init__(self, name, plugin, interest, mail_plugins=None):
        self.name = name
        self.dovecot = Dovecot(
            plugin=plugin, daemon="foreground", mail_plugins=mail_plugins,
            config=ENDPOINT % interest if plugin else "")
        if plugin:
            self.dovecot.start_daemon()
        self.counter = Counter(self.dovecot, 1000)

    def instructions(self, commands):
        return self.counter.instructions(commands)

    def system_calls(self, commands):
        return sum(map(len, self.counter.system_calls(commands)))

    def each(self, count, commands):
        if commands is None:
            return count(["SELECT INBOX", "LOGOUT"])
        few = count(script(commands, FEW))
        many = count(script(commands, MANY))
        return (many - few) / (MANY - FEW)


def main(wanted):
    variants = [
        Variant("without", False, ""),
        # Dovecot compares the names of all plugins to load one.
        Variant("an idle plugin", False, "", {"": ("welcome",)}),
        Variant("nothing of it wanted", True, 'events = {"MailboxRename"}'),
        Variant("all events", True, ""),
        Variant("large parameters", True, 'parameters = {"bodyStructure", '
                '"envelope", "headers"}')]
    print(f"{'operation':18}{'variant':24}{'instructions':>14}{'ratio':>8}"
          f"{'calls':>8}")
    try:
        for name, commands in {**OPERATIONS, SESSION: None}.items():
            if wanted and name not in wanted:
                continue
            base = None
            for variant in variants:
                count = variant.each(variant.instructions, commands)
                # Those of a process that starts are not seen.
                calls = "" if commands is None else \
                    f"{variant.each(variant.system_calls, commands):8.1f}"
                base = base or count
                print(f"{name:18}{variant.name:24}{count:14,.0f}"
                      f"{count / base:8.3f}{calls}", flush=True)
    finally:
        for variant in variants:
            variant.dovecot.remove()


if __name__ == "__main__":
    main(sys.argv[1:])
