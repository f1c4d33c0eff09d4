"""A private Dovecot with or without mailhook, or another way of being told,
and a load on it: what the benchmarks of mail operations share."""

import contextlib
import os
import pathlib
import re
import subprocess
import sys
import time

import lab

sys.path.insert(0, str(lab.SOURCE / "tests" / "system"))

from harness.clients import Imap  # noqa: E402
from harness.dialect import SERIES  # noqa: E402
from harness.dovecot import Dovecot  # noqa: E402

MESSAGES = 1000
USER = "bench@example.org"

LUA = """
local http = require "socket.http"
local ltn12 = require "ltn12"
local function tell(user, event)
  local body = string.format('{"user":"%%s","event":"%%s","mailbox":"%%s"}',
                             user, event.name, event.mailbox)
  http.request{ url = "%s", method = "POST",
                source = ltn12.source.string(body),
                headers = { ["content-length"] = tostring(#body) } }
end
function dovecot_lua_notify_begin_txn(user) return user.username end
for _, name in ipairs{ "message_new", "message_append", "message_expunge",
                       "flags_set", "flags_clear", "mailbox_create",
                       "mailbox_delete" } do
  _G["dovecot_lua_notify_event_" .. name] = tell
end
function dovecot_lua_notify_end_txn(user) end
"""

# What every mailhook variant's endpoint has, and what the others add.
ENDPOINT = {"concurrency": 16}


class Meter:
    """The processor time of processes and of all they start from then on: a
    control group of their own, of version 1 or 2; none where there is none."""

    KINDS = (("/sys/fs/cgroup/cpuacct", "cpuacct.usage",
              lambda text: int(text) / 1e9),
             ("/sys/fs/cgroup", "cpu.stat",
              lambda text: int(text.split()[1]) / 1e6))

    def __init__(self, pids):
        self.usage = None
        for top, usage, self.seconds in self.KINDS:
            if (pathlib.Path(top) / usage).exists():
                break
        else:
            return
        self.group = pathlib.Path(top) / f"mailhook-bench-{pids[0]}"
        with contextlib.suppress(OSError):
            self.group.mkdir()
            for pid in pids:
                (self.group / "cgroup.procs").write_text(str(pid))
            self.usage = self.group / usage

    def used(self):
        """Seconds so far."""
        return self.seconds(self.usage.read_text()) if self.usage else 0.0

    def remove(self):
        """After the last of them has ended."""
        if self.usage:
            self.group.rmdir()


class Variant:
    """One Dovecot with a user who has MESSAGES in the INBOX."""

    def __init__(self, name, driver, sink, endpoint=None, durability=None,
                 plugins=(), extra="", metadata=False):
        self.name, self.sink = name, sink
        self.path = "/ok/" + re.sub("[ ,]", "-", name)
        self.url = sink.url(self.path)
        self.is_mailhook = endpoint is not None
        if durability:
            extra += DURABILITY[SERIES] % durability
        self.dovecot = Dovecot(
            plugin=self.is_mailhook, mail_driver=driver, metadata=metadata,
            config=self._config(endpoint) if self.is_mailhook else "",
            mail_plugins={"": plugins},
            extra=extra.replace("@URL", self.url))
        if "@LUA" in extra:
            script = self.dovecot.top / "bench.lua"
            script.write_text(LUA % self.url)
            self.dovecot.conf.write_text(
                self.dovecot.conf.read_text().replace("@LUA", str(script)))

    def _config(self, endpoint):
        keys = {**ENDPOINT, **endpoint, "url": f'"{self.url}"',
                "secret": f'{{"{lab.SECRET}"}}'}
        lines = [f"    {key} = {value}" for key, value in keys.items()]
        return "\n".join(['server_name = "mail.example.org"',
                          'metrics = ""', "endpoint bench {", *lines, "}",
                          ""])

    def start(self):
        """The meter counts Dovecot's processes, mailhookd is none of them."""
        self.dovecot.start()
        daemons = self.dovecot.daemon_pids() if self.is_mailhook else []
        self.meter = Meter([pid for pid in self._pids() if pid not in daemons])

    def _pids(self):
        """The master's first."""
        parents = {}
        for entry in os.scandir("/proc"):
            with contextlib.suppress(OSError, ValueError):
                stat = pathlib.Path(entry.path, "stat").read_text()
                parents[int(entry.name)] = int(stat.rpartition(")")[2]
                                               .split()[1])
        found = [self.dovecot.process.pid]
        for one in found:
            found += [pid for pid, parent in parents.items() if parent == one]
        return found

    def fill(self, clients):
        with Imap(self.dovecot.imap_port, USER) as imap:
            if "push-ox" in self.name:
                imap.command('SETMETADATA "" (/private/vendor/vendor.dovecot'
                             '/http-notify "user=bench")')
        self.load("append", count=MESSAGES, clients=clients)

    def load(self, *arguments, count, clients=1):
        """(operations a second, p50, p99 in us), all clients together."""
        port = self.dovecot.lmtp_port if arguments[0] == "lmtp" else \
            self.dovecot.imap_port
        running = [subprocess.Popen(
            [lab.TOOLS / "load", arguments[0], str(port),
             USER if not n else f"bench{n}@example.org", str(count),
             *map(str, arguments[1:])], stdout=subprocess.PIPE, text=True)
            for n in range(clients)]
        figures = []
        for one in running:
            out, _ = one.communicate()
            if one.returncode != 0:
                raise SystemExit(f"{self.name}: {self.dovecot.log()[-2000:]}")
            figures.append([float(field) for field in out.split()])
        return (sum(f[0] for f in figures), max(f[1] for f in figures),
                max(f[2] for f in figures))

    def settle(self):
        """Until no more events come, so that they burden nobody's turn."""
        last, since = -1, time.monotonic()
        end = since + 60
        while time.monotonic() < end and time.monotonic() - since < 0.15:
            now = self.sink.stats(self.path)["requests"]
            if now != last:
                last, since = now, time.monotonic()
            time.sleep(0.03)

    def remove(self):
        self.dovecot.remove()
        self.meter.remove()


DURABILITY = {"2.3": "plugin {\n  mailhook_durability = %s\n}\n",
              "2.4": "mailhook_durability = %s\n"}
