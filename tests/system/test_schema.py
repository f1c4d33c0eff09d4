"""The JSON Schema that is installed says what the code sends: its names are
those of src/event/vocabulary.h, and it finds what is wrong."""

import copy
import json
import re

import pytest

from harness import build, schema
from harness.schema import SCHEMA

DEFS = SCHEMA["$defs"]
PARAMETERS = DEFS["data"]["properties"]


def event(**data):
    return {
        "specversion": "1.0", "id": "019ab5c0-6a3e-7c21-9d0f-5b8a7f0c2e11",
        "source": "imap://mail.example.org/#mx1.example.org",
        "type": "org.ietf.rfc5423.MessageNew", "subject": "ann/INBOX",
        "partitionkey": "ann", "time": "2026-11-24T04:30:35.123+01:00",
        "datacontenttype": "application/json",
        "stream": "019ab5c0-6a3e-7c21-9d0f-5b8a7f0c2e12",
        "sequence": "00000000000000000042",
        "data": {
            "uri": "imap://ann@mail.example.org/INBOX;UIDVALIDITY=1/;UID=7",
            "mailboxID": "imap://ann@mail.example.org/INBOX;UIDVALIDITY=1",
            "user": "ann", "service": "lmtp", "process": "lmtp", "pid": 4711,
            "serverFQDN": "mx1.example.org",
            "timestamp": "2026-11-24T04:30:35.123+01:00",
            "vnd.mailhook.mailbox": "INBOX", "vnd.mailhook.cause": "delivery",
            "vnd.mailhook.transaction":
                "019ab5c0-6a3e-7c21-9d0f-5b8a7f0c2e13", **data}}


def test_it_is_a_schema():
    schema.check()


def test_the_names_are_the_codes():
    types = schema.event_types()
    wire = [schema.wire_type(name) for name in types]
    assert len([one for one in wire if "rfc5423" in one]) == 18
    assert sorted(DEFS["exact"]["properties"]["type"]["enum"]) == sorted(wire)
    assert [rule["if"]["properties"]["type"]["const"]
            for rule in SCHEMA["allOf"]] == wire
    for rule, name in zip(SCHEMA["allOf"], types):
        assert rule["then"]["properties"]["data"]["$ref"] == f"#/$defs/{name}"
        assert name in DEFS
    assert sorted(PARAMETERS) == sorted(schema.parameters())
    headers = PARAMETERS["vnd.mailhook.headers"]
    exact = DEFS["exactData"]["properties"]
    assert set(headers["properties"]) == schema.header_members()
    assert set(exact["vnd.mailhook.headers"]["propertyNames"]["enum"]) == \
        schema.header_members()
    assert set(exact["vnd.mailhook.contentSuppressed"]["enum"]) == \
        schema.suppressions()


def resolved(definition):
    while "$ref" in definition:
        definition = DEFS[definition["$ref"].removeprefix("#/$defs/")]
    return definition


def test_the_kinds_are_the_codes():
    json_type = {"STRING": "string", "NUMBER": "integer", "BOOL": "boolean",
                 "OBJECT": "object"}
    for name, kind in schema.parameters().items():
        assert resolved(PARAMETERS[name])["type"] == json_type[kind], name


def test_every_type_and_every_member_has_its_exact_rule():
    """None is let through because nobody thought of it."""
    of_types, named = set(), set(DEFS["namesOfAll"]["enum"])
    named |= set(DEFS["namesOfUser"]["enum"])
    for rule in DEFS["exact"]["allOf"]:
        kind = rule["if"]["properties"]["type"]
        names = rule["then"]["properties"]["data"].get("propertyNames")
        if names is None:
            continue
        types = kind.get("enum") or [kind["const"]]
        assert not of_types & set(types), types
        of_types |= set(types)
        for part in names.get("anyOf", []):
            named |= set(part.get("enum", ()))
    assert of_types == set(DEFS["exact"]["properties"]["type"]["enum"])
    assert named == set(PARAMETERS)


def causes_in_code():
    """What stands in the plugin as a literal cause."""
    text = "".join(path.read_text() for path in
                   (build.SOURCE / "dovecot-plugin").glob("*.c"))
    found = set(re.findall(r'MSE_PARAM_CAUSE,\s*"(\w+)"', text))
    found |= set(re.findall(r'\.cause = "(\w+)"', text))
    found |= set(re.findall(r'_(?:tell\w*|exceed)\([^;{]*"(\w+)"\)', text))
    found |= set(re.findall(r'_leaving\([^;]*"(\w+)"\)', text))
    for function in ("mailhook_save_cause", "mailhook_expunge_cause",
                     "mailhook_flags_cause"):
        body = re.search(rf"{function}\((?:[^;{{]*)\)\n\{{\n(.*?)\n\}}", text,
                         re.S)[1]
        for part in re.findall(r"return (.*?);", body, re.S):
            # Not what the reason is compared with.
            found |= set(re.findall(r'(?:^|[?:] )"(\w+)"', part))
    return found


def test_the_causes_are_the_codes():
    known = DEFS["exactData"]["properties"]["vnd.mailhook.cause"]["enum"]
    assert sorted(known) == sorted(causes_in_code())


def test_a_good_event_passes():
    assert schema.violations(event()) == []
    assert schema.violations(event(), exact=False) == []


@pytest.mark.parametrize("data", [
    {"uri": "imap://ann@mail.example.org/INBOX"},
    {"uri": "imap://a b@mail.example.org/INBOX;UIDVALIDITY=1/;UID=7"},
    {"mailboxID": "imap://ann@mail.example.org/INBOX"},
    {"user": None}, {"user": ""}, {"pid": "4711"}, {"service": None},
    {"timestamp": "2026-11-24T04:30:35+01:00"},
    {"timestamp": "yesterday"}, {"timestamp": None},
    {"flagNames": "\\Seen \\Recent"}, {"flagNames": ""},
    {"flagNames": "\\Seen  x"},
    {"messageSize": -1}, {"uidnext": 0}, {"messages": 1.5},
    {"clientIP": "localhost"}, {"clientPort": 4711}, {"clientPort": 70000},
    {"envelope": "RCPT TO:<ann>"}, {"bodyStructure": "TEXT"},
    {"vnd.mailhook.cause": None}, {"vnd.mailhook.mailbox": None},
    {"vnd.mailhook.mailboxGuid": "x"},
    {"vnd.mailhook.contentEncoding": "base64"},
], ids=str)
def test_whatever_the_version_a_bad_member_is_found(data):
    bad = event(**data)
    bad["data"] = {name: value for name, value in bad["data"].items()
                   if value is not None}
    assert schema.violations(bad, exact=False)
    assert schema.violations(bad)


@pytest.mark.parametrize("data", [
    {"uidset": "1"}, {"diskQuota": 1, "diskUsed": 1}, {"nonsense": 1},
    {"vnd.mailhook.new": 1}, {"vnd.mailhook.cause": "whim"},
    {"vnd.mailhook.contentSuppressed": "mood"},
    {"vnd.mailhook.headers": {"cc": "x"}},
], ids=str)
def test_what_a_later_version_may_add_this_one_does_not(data):
    assert schema.violations(event(**data), exact=False) == []
    assert schema.violations(event(**data))


@pytest.mark.parametrize("change", [
    {"id": "1"}, {"sequence": "42"}, {"stream": None}, {"specversion": "2"},
    {"partitionkey": None}, {"subject": "ann mary/INBOX"}, {"source": "x"},
    {"data": []}, {"type": "org.ietf.rfc5423.FlagsSet"},
], ids=str)
def test_a_bad_envelope_is_found(change):
    bad = {**event(), **change}
    bad = {name: value for name, value in bad.items() if value is not None}
    assert schema.violations(bad, exact=False)


def test_unknown_types_are_for_later_versions():
    later = {**event(), "type": "vnd.mailhook.Later"}
    assert schema.violations(later, exact=False) == []
    assert schema.violations(later)


def test_append_has_no_envelope():
    append = copy.deepcopy(event(envelope="RCPT TO:<ann>\r\n"))
    assert schema.violations(append) == []
    append["type"] = "org.ietf.rfc5423.MessageAppend"
    append["data"]["vnd.mailhook.cause"] = "append"
    assert schema.violations(append)


def test_what_a_receiver_gets_is_checked(receiver, configuration, mail):
    """The net that all other tests have below them holds."""
    assert schema.complaints() == []
    with mail.imap() as imap:
        imap.ok("CREATE Box")
    [request] = mail.take()
    bad = copy.copy(request)
    bad.body = json.dumps({**request.event, "type": "nonsense"}).encode()
    schema.came(bad)
    assert "nonsense" in schema.complaints()[0]
