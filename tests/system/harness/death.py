"""Mail processes that die, as by kill -9, at a chosen step between a change
and its event (death.c)."""

import contextlib
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

from . import build
from .dialect import block
from .dovecot import sanitizer_environment

SERVICES = {"imap": "imap", "pop3": "pop3", "lmtp": "lmtp",
            "doveadm": "doveadm-server"}
LIBEXEC = Path("/usr/lib/dovecot")


class Death:
    """For one Dovecot: its configuration() goes into `extra`. Within at(), the first mail process that comes to the step for the n-th
    time dies there."""

    def __init__(self, services=tuple(SERVICES)):
        self.services = services
        self.directory = Path(tempfile.mkdtemp(prefix="mailhook-death-"))
        self.directory.chmod(0o1777)
        self.file = self.directory / "death"
        self.library = self.directory / "death.so"
        subprocess.run(
            ["gcc", "-shared", "-fPIC", "-o", self.library,
             build.SOURCE / "tests" / "system" / "harness" / "death.c",
             "-ldl"], check=True)
        before = sanitizer_environment("").get("LD_PRELOAD")
        self.environment = {
            "LD_PRELOAD": ":".join(filter(None, (before,
                                                 str(self.library)))),
            "MAILHOOK_DEATH": str(self.file)}

    def configuration(self):
        given = " ".join(f"{name}={value}"
                         for name, value in self.environment.items())
        return "".join(
            block(f"service {name}",
                  {"executable":
                   f"/usr/bin/env {given} {LIBEXEC / SERVICES[name]}"})
            for name in self.services)

    @contextlib.contextmanager
    def at(self, step, number=1):
        died = self.file.with_suffix(".died")
        died.unlink(missing_ok=True)
        new = self.file.with_suffix(".new")
        new.write_text(f"{step} {number}\n")
        os.chmod(new, 0o644)
        new.rename(self.file)
        try:
            yield died.exists
        finally:
            self.file.unlink()

    def remove(self):
        shutil.rmtree(self.directory, ignore_errors=True)
