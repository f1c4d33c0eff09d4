"""Libraries from npm that others wrote, to check what mailhook sends. They
are put into a cache directory outside the source."""

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from . import build

PACKAGES = ["standardwebhooks@1", "cloudevents@8", "@noble/ed25519@2"]


def modules():
    """The node_modules directory; skips the test if there is none."""
    cache = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) \
        / "mailhook-tests"
    if shutil.which("node") is None or shutil.which("npm") is None:
        pytest.skip("node and npm are not installed, so the reference "
                    "libraries cannot check anything")
    if not all((cache / "node_modules" / package.rpartition("@")[0]).exists()
               for package in PACKAGES):
        cache.mkdir(parents=True, exist_ok=True)
        done = subprocess.run(
            ["npm", "install", "--prefix", str(cache), "--no-audit",
             "--no-fund", "--ignore-scripts", *PACKAGES],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, text=True, timeout=300)
        if done.returncode != 0:
            last = done.stdout.strip().splitlines()[-1:]
            pytest.skip(f"npm cannot install {PACKAGES}: {last}")
    return cache / "node_modules"


def run(modules, script, given):
    """What the script prints as JSON, having read `given` as JSON."""
    done = subprocess.run(
        ["node", "-e", script], input=json.dumps(given),
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        timeout=120, cwd=build.BUILD,
        env={**os.environ, "NODE_PATH": str(modules)})
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)
