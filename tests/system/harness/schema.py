"""doc/mailhook-events.schema.json: compiled once, and asked about every
webhook of any format that a test's receiver gets."""

import collections
import json
import re
import warnings

from . import build, formats

with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)
    from jsonschema import Draft202012Validator

SCHEMA = json.loads(
    (build.SOURCE / "doc" / "mailhook-events.schema.json").read_text("utf-8"))

_whole = Draft202012Validator(SCHEMA)
# What this version sends, nothing else.
_exact = Draft202012Validator(SCHEMA).evolve(
    schema={"$ref": "#/$defs/exact"})
_pending = collections.deque()


def check():
    """The schema is one."""
    Draft202012Validator.check_schema(SCHEMA)


def violations(event, exact=True):
    """What the schema has against an event (a parsed body), in words."""
    validator = _exact if exact else _whole
    return [f"{'/'.join(map(str, error.absolute_path)) or 'event'}: "
            f"{error.message[:300]}"
            for error in validator.iter_errors(event)]


def came(request):
    """A receiver got this; may be called from any thread."""
    if request.headers.get("content-type") in (
            formats.STRUCTURED, formats.BATCH) or \
            "webhook-id" in request.headers:
        _pending.append((request.headers, request.body))


def forget():
    """What came is none of ours."""
    _pending.clear()


def complaints():
    """Of all that came since the last call."""
    told = []
    seen = set()
    while _pending:
        headers, body = _pending.popleft()
        if body in seen:
            continue
        seen.add(body)
        for event in formats.events(headers, body) or []:
            told += [f"{problem}\n    in {json.dumps(event)}"
                     for problem in violations(event)]
    return told


# -- the vocabulary in the code


def _entries(macro):
    """The X(...) rows of one list in vocabulary.h: tuples of words."""
    text = (build.SOURCE / "src" / "event" / "vocabulary.h").read_text()
    text = re.search(rf"#define {macro}\(X\) \\\n((?:.*\\\n)*.*\n)", text)[1]
    rows = re.findall(r"X\(([^)]*)\)", text)
    assert rows, macro
    return [[word.strip().strip('"') for word in row.split(",")]
            for row in rows]


def event_types():
    """All that can come in a webhook, by name: {name: group}."""
    return {name: group for _, name, group in _entries("MSE_EVENT_TYPES")
            if group != "FACT"}


wire_type = formats.wire_type


def parameters():
    """All members that data can have, by name: {name: kind}."""
    named = {name: kind for _, name, kind in _entries("MSE_PARAMS")}
    for _, _, member in _entries("MSE_OPTIONALS"):
        named[member] = {"vnd.mailhook.headers": "OBJECT",
                         "vnd.mailhook.unseen": "NUMBER"}.get(member, "STRING")
    text = (build.SOURCE / "src" / "event" / "vocabulary.h").read_text()
    for beside in re.findall(
            r'#define MSE_CONTENT_(?:ENCODING|SUPPRESSED) "(.*)"', text):
        named[beside] = "STRING"
    return named


def header_members():
    return {name for _, name, _ in _entries("MSE_HEADERS")}


def suppressions():
    text = (build.SOURCE / "src" / "event" / "vocabulary.h").read_text()
    return set(re.findall(r'#define MSE_SUPPRESSED_\w+ "(.*)"', text))
