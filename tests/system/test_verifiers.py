"""What receivers really use: the reference libraries of Standard Webhooks
and CloudEvents check what mailhook sent. They come from npm into a cache
directory outside the source."""

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from harness import build
from harness.clients import message

PACKAGES = ["standardwebhooks@1", "cloudevents@8"]

SCRIPT = """
const { Webhook } = require("standardwebhooks");
const { HTTP } = require("cloudevents");
const fs = require("fs");
const sent = JSON.parse(fs.readFileSync(0, "utf8"));
const out = { verified: 0, refused: 0, events: [] };
for (const request of sent.requests) {
    new Webhook(sent.secret).verify(request.body, request.headers);
    out.verified++;
    try {
        new Webhook(sent.secret).verify(
            request.body.replace("MessageNew", "MessageOld"),
            request.headers);
    } catch (error) {
        out.refused++;
    }
    const event = HTTP.toEvent({
        headers: request.headers, body: request.body });
    event.validate();
    out.events.push({ id: event.id, type: event.type, source: event.source,
        subject: event.subject, uri: event.data.uri });
}
console.log(JSON.stringify(out));
"""


@pytest.fixture(scope="module")
def modules():
    cache = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) \
        / "mailhook-tests"
    if shutil.which("node") is None or shutil.which("npm") is None:
        pytest.skip("node and npm are not installed, so the reference "
                    "libraries cannot check anything")
    if not (cache / "node_modules" / "cloudevents").exists():
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


def test_reference_libraries_accept_every_request(modules, mail, receiver):
    mail.deliver(message("Grüße"))
    with mail.imap() as imap:
        imap.ok("CREATE Projects")
        imap.ok("SELECT INBOX")
        imap.ok("STORE 1 +FLAGS (\\Seen)")
        imap.ok("MOVE 1 Projects")
        requests = mail.take()
    assert len(requests) == 5
    done = subprocess.run(
        ["node", "-e", SCRIPT],
        input=json.dumps({
            "secret": receiver.secrets[mail.path][0],
            "requests": [{"headers": r.headers, "body": r.body.decode()}
                         for r in requests]}),
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        timeout=120, cwd=build.BUILD,
        env={**os.environ, "NODE_PATH": str(modules)})
    assert done.returncode == 0, done.stderr
    out = json.loads(done.stdout)
    assert out["verified"] == 5
    # One of them has the word that was forged.
    assert out["refused"] == 1
    assert [(e["id"], e["uri"]) for e in out["events"]] == \
        [(r.id, r.data["uri"]) for r in requests]
    assert all(e["type"].startswith("org.ietf.rfc5423.") and
               e["source"].startswith("imap://") for e in out["events"])
