"""The same events in every format: what a receiver reads out of each is the
same, and the libraries that receivers use read and verify it."""

import gzip
import json
import signal
import time

import pytest

from harness import formats, npm
from harness.clients import message
from harness.expect import Mail
from harness.receiver import Answer

FORMATS = ["cloudevents", "cloudevents-binary", "cloudevents-batch",
           "standard", "cyrus"]
CONTENT_TYPES = {"cloudevents": formats.STRUCTURED,
                 "cloudevents-batch": formats.BATCH}
# What is not in every format.
MODEST = ("subject", "partitionkey", "source", "stream", "sequence")
MAILBOX = 'Entwürfe "50 %" a/b'


@pytest.fixture(scope="module")
def paths(serve, receiver):
    """(Served, {format: path}): one endpoint for each."""
    one = serve()
    found = {"cloudevents": one.path}
    for name in FORMATS[1:]:
        found[name] = one.configuration.add(
            name, format=f'"{name}"', parameters='{"headers", "unseen"}',
            tags='{"one", "two"}')
    one.configuration.endpoints["all"].update(
        parameters='{"headers", "unseen"}', tags='{"one", "two"}')
    one.configuration.apply()
    return one, found


@pytest.fixture(scope="module")
def requests(paths, receiver):
    """{format: requests} of one user's doings; every one with one event."""
    served, found = paths
    mail = served.mail()
    mail.deliver(message("Grüße"))
    with mail.imap() as imap:
        imap.ok(f"CREATE {imap_quoted(MAILBOX)}")
        imap.ok("SELECT INBOX")
        imap.ok("STORE 1 +FLAGS (\\Seen)")
        imap.ok(f"MOVE 1 {imap_quoted(MAILBOX)}")
    count = len(mail.take()) + 1
    assert count == 6

    def of(path):
        return receiver.answered(path)

    receiver.wait(lambda: all(
        sum(len(r.events) for r in of(path)) >= count
        for path in found.values()))
    return {name: of(path) for name, path in found.items()}


def imap_quoted(name):
    from harness.utf7 import encode
    return '"' + encode(name).replace('"', '\\"') + '"'


def listed(requests):
    return [event for request in requests for event in request.events]


def test_every_format_says_the_same(requests):
    def common(event):
        return {k: v for k, v in event.items() if k not in MODEST}

    expected = [common(event) for event in listed(requests["cloudevents"])]
    assert [event["type"].rpartition(".")[2] for event in expected] == \
        ["MessageNew", "MailboxCreate", "MessageRead", "MessageAppend",
         "MessageExpunge", "MailboxSubscribe"]
    for name in FORMATS[1:]:
        assert [common(event) for event in listed(requests[name])] == \
            expected, name


def test_the_cloudevents_formats_have_all_attributes(requests):
    for name in FORMATS[1:3]:
        for one, other in zip(listed(requests["cloudevents"]),
                              listed(requests[name])):
            assert {**one, "stream": 0} == {**other, "stream": 0}


def test_numbers_and_headers(requests):
    for name in FORMATS:
        assert all(r.headers["content-type"] ==
                   CONTENT_TYPES.get(name, "application/json")
                   for r in requests[name])
        events = listed(requests[name])
        assert [int(e["sequence"]) for e in events] == \
            list(range(1, len(events) + 1))
        assert len({e["stream"] for e in events}) == 1
        assert all(len(r.valid) == 1 for r in requests[name])
        assert all(r.id == r.event["id"] for r in requests[name]
                   if len(r.events) == 1)
        assert all(("ce-id" in r.headers) == (name == "cloudevents-binary")
                   for r in requests[name])


SCRIPT = """
const { Webhook } = require("standardwebhooks");
const { HTTP } = require("cloudevents");
const sent = JSON.parse(require("fs").readFileSync(0, "utf8"));
const out = {};
for (const [format, { secret, requests }] of Object.entries(sent)) {
    out[format] = [];
    for (const request of requests) {
        const body = new Webhook(secret).verify(
            request.body, request.headers);
        if (!format.startsWith("cloudevents")) {
            out[format].push(body);
            continue;
        }
        for (const event of [HTTP.toEvent(request)].flat()) {
            event.validate();
            out[format].push(event);
        }
    }
}
console.log(JSON.stringify(out));
"""


def test_reference_libraries_read_every_format(requests, paths, modules,
                                               receiver):
    out = npm.run(modules, SCRIPT, {
        name: {"secret": receiver.secrets[paths[1][name]][0],
               "requests": [{"headers": r.headers, "body": r.body.decode()}
                            for r in requests[name]]}
        for name in FORMATS})
    for name in FORMATS[:3]:
        events = listed(requests[name])
        assert [e["id"] for e in out[name]] == [e["id"] for e in events]
        assert [e["data"] for e in out[name]] == [e["data"] for e in events]
        assert [e["type"] for e in out[name]] == [e["type"] for e in events]
        assert [e["source"] for e in out[name]] == \
            [e["source"] for e in events]
    for name in FORMATS[3:]:
        assert out[name] == [json.loads(r.body) for r in requests[name]]


def test_test_events_come_in_every_format(paths, receiver):
    served, found = paths
    for name, path in found.items():
        endpoint = "all" if name == "cloudevents" else name
        answer = json.loads(served.dovecot.ctl(
            "--json", "test", endpoint).stdout)
        assert answer["ok"]
        request, = [r for r in receiver.on(path)
                    if r.events[0]["type"] == "vnd.mailhook.Test"]
        assert request.event["sequence"] == "0" * 20
        assert request.id == request.event["id"]


# -- batches

BATCH = {"format": '"cloudevents-batch"', "retry_first": '"50ms"',
         "retry_max": '"200ms"'}
MAIL = message()


def deliver(dovecot, users, count=1):
    with dovecot.lmtp() as lmtp:
        for _ in range(count):
            for user in users:
                lmtp.deliver(MAIL, user)


def sizes(requests):
    return [len(request.events) for request in requests]


def ids(requests):
    return [[event["id"] for event in request.events] for request in requests]


def wait_parked(dovecot, count):
    """The ledger is a moment behind the last answer."""
    end = time.monotonic() + 60
    while dovecot.ask("status")["endpoints"][0]["parked"] != count:
        assert time.monotonic() < end
        time.sleep(0.05)


def first_in_order(requests):
    """Each owner's numbers only rise, an event that came before aside."""
    last, seen = {}, set()
    for event in listed(requests):
        if event["id"] in seen:
            continue
        seen.add(event["id"])
        owner = event["partitionkey"]
        assert event["sequence"] > last.get(owner, ""), owner
        last[owner] = event["sequence"]
    return seen


def test_a_last_event_leaves_within_its_linger(private, receiver):
    """And what comes together goes together, of all owners."""
    dovecot, _, path = private(endpoint={**BATCH, "linger": '"300ms"'})
    users = [f"linger{n}@example.org" for n in range(7)]
    # LMTP delivers them one after the other.
    dovecot.ctl("pause", "only")
    deliver(dovecot, users)
    dovecot.ctl("resume", "only")
    receiver.wait(lambda: sum(sizes(receiver.answered(path))) == 7)
    assert sizes(receiver.on(path)) == [7]
    deliver(dovecot, users[:1])
    receiver.wait(lambda: sum(sizes(receiver.answered(path))) == 8)
    last = receiver.on(path)[-1]
    assert last.id == last.event["id"]
    batch = next(r for r in receiver.on(path) if len(r.events) > 1)
    assert batch.id not in [e["id"] for e in listed(receiver.on(path))]
    assert [int(e["sequence"]) for e in listed(receiver.on(path))] == \
        list(range(1, 9))
    end = time.monotonic() + 60
    while dovecot.ask("status")["endpoints"][0]["answered"] != 8:
        assert time.monotonic() < end
        time.sleep(0.05)
    assert dovecot.ask("status")["endpoints"][0]["parked"] == 0


def test_a_batch_is_the_same_after_kill_9(private, receiver):
    """Its answer never came: the same id, the same octets, nothing added;
    whether its events are still in the journal or rows already."""
    dovecot, _, path = private(endpoint={
        **BATCH, "linger": '"500ms"', "retry_first": '"1s"',
        "retry_max": '"1s"', "timeout": '"60s"'})
    users = [f"kill{n}@example.org" for n in range(5)]
    receiver.script(path, Answer(hang=True))
    deliver(dovecot, users)
    first, = receiver.wait(lambda: receiver.on(path))
    dovecot.stop_daemon(signal.SIGKILL)
    receiver.release()
    deliver(dovecot, users)
    # Again at once, and then refused once: it becomes rows.
    receiver.script(path, Answer(500), default=Answer())
    dovecot.start_daemon()
    receiver.wait(lambda: len(receiver.on(path)) > 1)
    second = next(r for r in receiver.on(path)[1:] if r.id == first.id)
    assert (second.body, second.answered) == (first.body, 500)
    dovecot.stop_daemon(signal.SIGKILL)
    dovecot.start_daemon()
    receiver.wait(lambda: len(first_in_order(receiver.answered(path))) == 10)
    again = [r for r in receiver.on(path) if r.id == first.id]
    assert len(again) >= 3
    assert {r.body for r in again} == {first.body}
    assert again[-1].answered == 204
    # None of its events came in another request.
    mine = {e["id"] for e in first.events}
    assert all(mine.isdisjoint(e["id"] for e in r.events)
               for r in receiver.on(path) if r.id != first.id)
    wait_parked(dovecot, 0)


def test_a_poison_event_ends_up_alone(private, receiver):
    """Nobody waits for it: not even its batch, which it was refused in."""
    dovecot, _, path = private(endpoint={**BATCH, "linger": '"500ms"'})
    users = [f"poison{n}@example.org" for n in range(12)]
    bad = "poison7%40example.org"
    receiver.script(path, choose=lambda request: Answer(400) if any(
        e["partitionkey"] == bad for e in request.events) else None)
    deliver(dovecot, users)
    receiver.wait(lambda: len(listed(receiver.answered(path))) == 11)
    refused = [r for r in receiver.on(path) if r.answered == 400]
    assert len(refused[0].events) > 1
    receiver.wait(lambda: sizes(receiver.on(path))[-1] == 1 and
                  receiver.on(path)[-1].owner_of_all == {bad})
    wait_parked(dovecot, 1)
    deliver(dovecot, users, 2)
    receiver.wait(lambda: len(listed(receiver.answered(path))) == 33)
    receiver.script(path)
    receiver.wait(lambda: len(listed(receiver.answered(path))) == 36)
    first_in_order(receiver.answered(path))
    # The same id always carried the same events.
    made = {}
    for request in receiver.on(path):
        assert made.setdefault(request.id, request.body) == request.body
    assert len(first_in_order(receiver.answered(path))) == 36


def test_bodies_are_compressed_on_request(private, receiver):
    dovecot, configuration, path = private(endpoint={
        **BATCH, "compress": "true"})
    plain = configuration.add("plain", **BATCH)
    configuration.apply()
    users = [f"gzip{n}@example.org" for n in range(20)]
    deliver(dovecot, users)
    receiver.wait(lambda: all(len(listed(receiver.answered(p))) == 20
                              for p in (path, plain)))
    for request in receiver.on(path):
        # Signed is what was compressed (the receiver's own check).
        assert request.valid
        assert request.headers["content-encoding"] == "gzip"
        assert int(request.headers["content-length"]) == len(request.body)
        assert len(request.body) < len(gzip.decompress(request.body))
    assert all("content-encoding" not in r.headers
               for r in receiver.on(plain))
    assert sorted(e["id"] for e in listed(receiver.on(path))) == \
        sorted(e["id"] for e in listed(receiver.on(plain)))
    answer = json.loads(dovecot.ctl("--json", "test", "only").stdout)
    assert "vnd.mailhook.Test" in json.dumps(answer)


# -- CloudEvents' handshake


def test_nothing_is_sent_before_it_is_permitted(private, receiver):
    dovecot, configuration, path = private(start=False, endpoint={
        "handshake": "true", "rate": "100", "retry_first": '"50ms"',
        "retry_max": '"200ms"'})
    configuration.write()
    dovecot.start_daemon()
    dovecot.start()

    def asked():
        return [headers for one, headers in receiver.asked if one == path]

    def endpoint():
        return dovecot.ask("status")["endpoints"][0]

    mail = Mail(dovecot, receiver, path, "asked@example.org")
    mail.deliver(MAIL)
    receiver.wait(lambda: len(asked()) >= 3)
    assert {h["webhook-request-origin"] for h in asked()} == \
        {"mail.example.org"}
    assert {h["webhook-request-rate"] for h in asked()} == {"6000"}
    assert not any(name.startswith(("webhook-id", "webhook-sig", "ce-"))
                   for h in asked() for name in h)
    assert endpoint()["state"] == "handshake"
    assert "405" in endpoint()["last_error"]
    assert "deliveries are not permitted" in dovecot.log()
    assert receiver.on(path) == []
    receiver.permits[path] = {"WebHook-Allowed-Origin": "other.example"}
    count = len(asked())
    receiver.wait(lambda: len(asked()) >= count + 3)
    assert receiver.on(path) == []
    receiver.permits[path] = {"WebHook-Allowed-Origin": "mail.example.org",
                              "WebHook-Allowed-Rate": "600"}
    receiver.wait(lambda: receiver.answered(path))
    assert endpoint()["state"] == "ok"
    count = len(asked())
    mail.deliver(MAIL)
    assert len(mail.take()) == 2
    assert len(asked()) == count
    # Asked again after a start, not before.
    dovecot.stop_daemon()
    dovecot.start_daemon()
    mail.deliver(MAIL)
    assert len(mail.take()) == 1
    assert len(asked()) == count + 1
