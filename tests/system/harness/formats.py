"""Every format of a webhook, read as a receiver would and told alike: a list
of events in the form of CloudEvents' JSON."""

import gzip
import json
from urllib.parse import unquote

STRUCTURED = "application/cloudevents+json"
BATCH = "application/cloudevents-batch+json"
OWN = "vnd.mailhook."
RFC_PREFIX = "org.ietf.rfc5423."


def plain(headers, body):
    """The body as it was before Content-Encoding, which is what is signed."""
    coding = headers.get("content-encoding", "identity")
    assert coding in ("identity", "gzip"), coding
    return gzip.decompress(body) if coding == "gzip" else body


def wire_type(name):
    return name if name.startswith("vnd.") else RFC_PREFIX + name


def _binary(headers, data):
    event = {name[3:]: unquote(value, errors="strict")
             for name, value in headers.items() if name.startswith("ce-")}
    event["datacontenttype"] = headers["content-type"]
    event["data"] = data
    return event


def _numbered(name, webhook_id, data):
    """What standard and cyrus leave out has no other place to come from."""
    stream = data.pop(OWN + "stream")
    sequence = data.pop(OWN + "sequence")
    assert isinstance(sequence, int)
    return {"specversion": "1.0", "id": webhook_id, "type": wire_type(name),
            "source": f"imap://unknown/#{data['serverFQDN']}",
            "time": data["timestamp"],
            "datacontenttype": "application/json", "stream": stream,
            "sequence": f"{sequence:020}", "data": data}


def _standard(headers, body):
    assert set(body) == {"type", "timestamp", "data"}
    assert body["timestamp"] == body["data"]["timestamp"]
    return _numbered(body["type"], headers["webhook-id"], body["data"])


def _cyrus(headers, body):
    assert next(iter(body)) == "event"
    name = body.pop("event")
    return _numbered(name, body.pop(OWN + "id"), body)


def events(headers, body):
    """headers: lower-case names. None: no format of ours."""
    kind = headers.get("content-type", "")
    if kind not in (STRUCTURED, BATCH, "application/json"):
        return None
    body = json.loads(plain(headers, body))
    if kind == BATCH:
        return body
    if kind == STRUCTURED:
        return [body]
    if "ce-specversion" in headers:
        return [_binary(headers, body)]
    return [_cyrus(headers, body) if "event" in body else
            _standard(headers, body)]
