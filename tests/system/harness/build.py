"""Where the build under test is: an installation below the build directory,
made by tests/system/prepare.sh."""

import os
from pathlib import Path

SOURCE = Path(__file__).resolve().parents[3]
BUILD = Path(os.environ.get("MAILHOOK_BUILD", SOURCE / "build")).resolve()
ROOT = BUILD / "root"

PLUGIN = ROOT / "modules" / "lib05_mailhook_plugin.so"
LAUNCHER = ROOT / "libexec" / "mailhook"
DAEMON = ROOT / "sbin" / "mailhookd"
CTL = ROOT / "bin" / "mailhookctl"
SHIPPED_CONF = SOURCE / "conf.d" / "2.3" / "11-mailhook.conf"


def missing():
    """What the tests need and the build does not have."""
    return [str(path) for path in
            (PLUGIN, LAUNCHER, DAEMON, CTL, SHIPPED_CONF)
            if not path.exists()]
