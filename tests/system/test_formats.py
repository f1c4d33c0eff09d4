"""The same events in every format: what a receiver reads out of each is the
same, and the libraries that receivers use read and verify it."""

import json

import pytest

from harness import formats, npm
from harness.clients import message

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
