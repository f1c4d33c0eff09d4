"""What receivers really use: the reference libraries of Standard Webhooks
and CloudEvents, and libraries for Ed25519, check what mailhook sent."""

import base64
import json
import os
import pwd

import pytest

from harness import npm
from harness.clients import message
from harness.expect import Mail

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


def test_reference_libraries_accept_every_request(modules, mail, receiver):
    mail.deliver(message("Grüße"))
    with mail.imap() as imap:
        imap.ok("CREATE Projects")
        imap.ok("SELECT INBOX")
        imap.ok("STORE 1 +FLAGS (\\Seen)")
        imap.ok("MOVE 1 Projects")
        requests = mail.take()
    assert len(requests) == 5
    out = npm.run(modules, SCRIPT, {
        "secret": receiver.secrets[mail.path][0],
        "requests": [{"headers": r.headers, "body": r.body.decode()}
                     for r in requests]})
    assert out["verified"] == 5
    # One of them has the word that was forged.
    assert out["refused"] == 1
    assert [(e["id"], e["uri"]) for e in out["events"]] == \
        [(r.id, r.data["uri"]) for r in requests]
    assert all(e["type"].startswith("org.ietf.rfc5423.") and
               e["source"].startswith("imap://") for e in out["events"])


def by_version(request):
    """webhook-signature, told apart as a receiver does."""
    found = {}
    for one in request.headers["webhook-signature"].split(" "):
        version, _, signature = one.partition(",")
        found.setdefault(version, []).append(base64.b64decode(signature))
    return found


def signed(request):
    return b".".join((request.headers["webhook-id"].encode(),
                      request.headers["webhook-timestamp"].encode(),
                      request.body))


@pytest.fixture
def asymmetric(private, receiver):
    """Requests signed with two key pairs, one in a file, both as mailhookctl
    printed them, beside a shared secret; and their public keys."""
    dovecot, configuration, _ = private(start=False)
    made = json.loads(dovecot.ctl("--json", "secret", "--ed25519").stdout)
    printed = dovecot.ctl("secret", "--ed25519").stdout
    in_file = printed.split("whpk_")[1].split("\n")[0]
    path = dovecot.top / "etc" / "portal.secret"
    path.write_text(printed)
    os.chmod(path, 0o600)
    owner = pwd.getpwnam("dovecot")
    os.chown(path, owner.pw_uid, owner.pw_gid)
    shared = receiver.secrets[configuration.add("portal")][0]
    configuration.endpoints["portal"].update(
        secret=f'{{"{shared}", "{made["secret"]}"}}', secret_file=f'"{path}"')
    configuration.write()
    dovecot.start_daemon()
    dovecot.start()
    address = configuration.endpoints["portal"]["url"].strip('"')
    mail = Mail(dovecot, receiver, "/" + address.rpartition("/")[2],
                "keys@example.org")
    mail.deliver(message("Grüße"))
    with mail.imap() as imap:
        imap.ok("CREATE Projects")
    requests = mail.take()
    assert [r.type for r in requests] == ["MessageNew", "MailboxCreate"]
    return requests, [base64.b64decode(made["public_key"][5:]),
                      base64.b64decode(in_file)]


def test_both_schemes_sign_every_request(asymmetric):
    requests, _ = asymmetric
    for request in requests:
        assert request.valid  # v1, by the receiver's own check
        found = by_version(request)
        assert {k: [len(one) for one in v] for k, v in found.items()} == \
            {"v1": [32], "v1a": [64, 64]}


def test_ed25519_by_python_cryptography(asymmetric):
    keys = pytest.importorskip(
        "cryptography.hazmat.primitives.asymmetric.ed25519",
        reason="python3-cryptography is not installed, so it cannot check "
               "v1a signatures")
    from cryptography.exceptions import InvalidSignature
    requests, public = asymmetric
    for request in requests:
        for raw, signature in zip(public, by_version(request)["v1a"]):
            key = keys.Ed25519PublicKey.from_public_bytes(raw)
            key.verify(signature, signed(request))
            with pytest.raises(InvalidSignature):
                key.verify(signature, signed(request) + b" ")
    with pytest.raises(InvalidSignature):
        keys.Ed25519PublicKey.from_public_bytes(public[1]).verify(
            by_version(requests[0])["v1a"][0], signed(requests[0]))


NOBLE = """
const { createHash } = require("crypto");
const fs = require("fs");
(async () => {
    const sent = JSON.parse(fs.readFileSync(0, "utf8"));
    const ed = await import(sent.library);
    ed.etc.sha512Sync = (...parts) => {
        const hash = createHash("sha512");
        parts.forEach((part) => hash.update(part));
        return new Uint8Array(hash.digest());
    };
    const octets = (text) => new Uint8Array(Buffer.from(text, "base64"));
    const out = sent.checks.map((check) => ed.verify(
        octets(check.signature), octets(check.message), octets(check.key)));
    console.log(JSON.stringify(out));
})();
"""


def test_ed25519_by_noble(asymmetric, modules):
    requests, public = asymmetric

    def check(request, key, number, more=b""):
        return {"signature": base64.b64encode(
                    by_version(request)["v1a"][number]).decode(),
                "message": base64.b64encode(signed(request) + more).decode(),
                "key": base64.b64encode(key).decode()}

    checks = [check(request, public[n], n)
              for request in requests for n in (0, 1)]
    forged = [check(requests[0], public[0], 0, b" "),
              check(requests[0], public[1], 0)]
    assert npm.run(modules, NOBLE, {
        "library": str(modules / "@noble" / "ed25519" / "index.js"),
        "checks": checks + forged}) == [True] * 4 + [False] * 2
