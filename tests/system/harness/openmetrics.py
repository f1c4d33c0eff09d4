"""OpenMetrics 1.0 text, parsed by the letter of its specification: what a
lenient scraper would pass over is an error here."""

import re

NAME = r"[a-zA-Z_:][a-zA-Z0-9_:]*"
SAMPLE = re.compile(
    rf"({NAME})(?:\{{(.*)\}})? (-?(?:[0-9]+(?:\.[0-9]+)?|[+-]?Inf|NaN))")
LABEL = re.compile(r'([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\\n]|\\["\\n])*)"')
SUFFIXES = {"gauge": [""], "counter": ["_total"], "info": ["_info"],
            "histogram": ["_bucket", "_sum", "_count"]}


class Family:
    def __init__(self, name):
        self.name, self.type, self.unit, self.help = name, None, None, None
        self.samples = []  # (name, labels, value)


def labels_of(text):
    labels, at = {}, 0
    while at < len(text):
        match = LABEL.match(text, at)
        assert match, f"labels: {text}"
        assert match[1] not in labels
        labels[match[1]] = re.sub(
            r"\\(.)", lambda m: {"n": "\n"}.get(m[1], m[1]), match[2])
        at = match.end()
        if at < len(text):
            assert text[at] == ",", text
            at += 1
            assert at < len(text), text
    return labels


def parse(text):
    """{family name: Family}. AssertionError says what is wrong."""
    assert text.endswith("# EOF\n") and text.count("# EOF") == 1
    families, current = {}, None
    for line in text.split("\n")[:-2]:
        if line.startswith("# "):
            what, name, value = line[2:].split(" ", 2)
            assert what in ("TYPE", "UNIT", "HELP"), line
            assert re.fullmatch(NAME, name), line
            if current is None or current.name != name:
                assert name not in families, f"{name} is not in one place"
                current = families[name] = Family(name)
            assert not current.samples, f"{line}: after samples"
            assert getattr(current, what.lower()) is None, line
            setattr(current, what.lower(), value)
            continue
        match = SAMPLE.fullmatch(line)
        assert match, f"no sample: {line!r}"
        name, labels = match[1], labels_of(match[2] or "")
        assert current, line
        assert name in [current.name + suffix
                        for suffix in SUFFIXES[current.type]], line
        value = float(match[3])
        assert (name, labels) not in \
            [(n, l) for n, l, _ in current.samples], f"twice: {line}"
        current.samples.append((name, labels, value))
    for family in families.values():
        check(family)
    return families


def check(family):
    assert family.type in SUFFIXES, family.name
    assert family.help, family.name
    if family.unit:
        assert family.name.endswith("_" + family.unit), family.name
    for name, labels, value in family.samples:
        if family.type == "info":
            assert value == 1, name
        if family.type in ("counter", "histogram"):
            assert value >= 0, name
    if family.type == "histogram":
        check_histogram(family)


def check_histogram(family):
    groups = {}
    for name, labels, value in family.samples:
        labels = dict(labels)
        bound = labels.pop("le", None)
        group = groups.setdefault(tuple(sorted(labels.items())),
                                  {"buckets": []})
        if name.endswith("_bucket"):
            assert re.fullmatch(r"[0-9]+\.[0-9]+|\+Inf", bound), bound
            group["buckets"].append((float(bound), value))
        else:
            group[name.removeprefix(family.name)] = value
    for group in groups.values():
        bounds = [bound for bound, _ in group["buckets"]]
        counts = [count for _, count in group["buckets"]]
        assert bounds == sorted(bounds) and bounds[-1] == float("inf")
        assert counts == sorted(counts)
        assert counts[-1] == group["_count"]
        assert "_sum" in group


def value(families, name, **labels):
    """Of the one sample with this name and these labels."""
    found = [value for family in families.values()
             for n, l, value in family.samples if n == name and l == labels]
    assert len(found) == 1, f"{name} {labels}: {found}"
    return found[0]
