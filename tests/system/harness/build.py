"""Where the build under test is: an installation below the build directory,
made by tests/system/prepare.sh."""

import atexit
import ctypes
import os
import shutil
from pathlib import Path

from .dialect import SERIES

SOURCE = Path(__file__).resolve().parents[3]
BUILD = Path(os.environ.get("MAILHOOK_BUILD", SOURCE / "build")).resolve()
ROOT = BUILD / "root"

PLUGIN = ROOT / "modules" / "lib05_mailhook_plugin.so"
SETTINGS = ROOT / "modules" / "settings" / "libmailhook_settings.so"
LAUNCHER = ROOT / "libexec" / "mailhook"
DAEMON = ROOT / "sbin" / "mailhookd"
CTL = ROOT / "bin" / "mailhookctl"
SHIPPED_CONF = SOURCE / "conf.d" / SERIES / "11-mailhook.conf"

STOCK_MODULES = Path("/usr/lib/dovecot/modules")


def missing():
    """What the tests need and the build does not have."""
    needed = [PLUGIN, LAUNCHER, DAEMON, CTL, SHIPPED_CONF]
    if SERIES != "2.3":
        needed.append(SETTINGS)
    return [str(path) for path in needed if not path.exists()]


def other_daemon():
    """Whether the launcher runs another build's mailhookd: it has the path
    compiled in, which an installation copied elsewhere keeps."""
    return bytes(DAEMON) + b"\0" not in LAUNCHER.read_bytes()


def show_settings_module():
    """Dovecot 2.4 finds settings modules only in the directory compiled into
    it. There it gets to see ours without anything being installed: this
    process moves into a mount namespace of its own, where a copy of that
    directory that has our module too lies over it. For this process and its
    children alone, and gone with them. Where that is not allowed, as in most
    containers, the module lies in the directory itself until the end."""
    if SERIES == "2.3":
        return
    stock, mine = STOCK_MODULES / "settings", BUILD / "settings-modules"
    shutil.rmtree(mine, ignore_errors=True)
    shutil.copytree(stock, mine)
    shutil.copy(SETTINGS, mine)
    try:
        _mount_for_us(mine, stock)
    except OSError:
        ours = stock / SETTINGS.name
        if not ours.exists():
            atexit.register(ours.unlink, missing_ok=True)
            shutil.copy(SETTINGS, ours)


def _mount_for_us(source, target):
    clone_newns, ms_bind, ms_rec, ms_private = 0x20000, 4096, 16384, 1 << 18
    libc = ctypes.CDLL(None, use_errno=True)

    def call(function, *args):
        if function(*args) != 0:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number))

    call(libc.unshare, clone_newns)
    call(libc.mount, b"none", b"/", None, ctypes.c_ulong(ms_rec | ms_private),
         None)
    call(libc.mount, bytes(source), bytes(target), None,
         ctypes.c_ulong(ms_bind), None)
