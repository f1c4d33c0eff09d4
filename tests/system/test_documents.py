"""What the documents say of the code is so: names, samples, tests, links."""

import json
import re
import subprocess

import pytest

from harness import build, schema
from harness.schema import SCHEMA

DOC = build.SOURCE / "doc"
EVENTS = (DOC / "events.md").read_text("utf-8")
CONFORMANCE = (DOC / "conformance.md").read_text("utf-8")
SAMPLES = sorted((DOC / "samples").glob("*.json"))
TYPES = schema.event_types()
# RFC 5423, section 5.
PARAMETERS = """admin bodyStructure clientIP clientPort diskQuota diskUsed
    envelope flagNames mailboxID maxMessages messageContent messageSize
    messages modseq oldMailboxID pid process serverDomain serverPort
    serverFQDN service tags timestamp uidnext uidset uri user""".split()


@pytest.mark.parametrize("path", SAMPLES, ids=lambda path: path.stem)
def test_each_sample_fits_the_schema(path):
    event = json.loads(path.read_text("utf-8"))
    assert event["type"] == schema.wire_type(path.stem)
    assert schema.violations(event) == []


def test_every_document_is_installed():
    installed_doc = build.ROOT / "share" / "doc" / "mailhook"
    for path in DOC.rglob("*"):
        if path.is_file() and path.name not in (
                "architecture.md", "dovecot-versions.md", "performance.md"):
            assert (installed_doc / path.relative_to(DOC)).is_file(), path


def section(name):
    """The text below a heading of events.md."""
    found = re.search(rf"(?ms)^### {re.escape(name)}\n(.*?)(?=^##|\Z)",
                      EVENTS)
    assert found, f"events.md has no section {name}"
    return found[1]


def test_events_md_has_every_event_and_its_sample():
    assert set(re.findall(r"(?m)^### (.*)$", EVENTS)) == \
        set(TYPES) | {"All three"}
    sampled = {path.stem for path in SAMPLES}
    for name in TYPES:
        assert (f"(samples/{name}.json)" in section(name)) == \
            (name in sampled), name


def test_events_md_has_every_event_in_its_group():
    rows = dict(re.findall(r"(?m)^\| \[`([\w.]+)`\]\(#\w+\) \| (\w*) *\|",
                           EVENTS))
    assert rows == {name: "" if group == "OWN" else group.lower()
                    for name, group in TYPES.items()}


def test_events_md_names_every_parameter():
    named = set(re.findall(r"`([\w.]+)`", EVENTS))
    assert set(schema.parameters()) <= named
    assert {name for name in named if name.startswith("vnd.")} <= \
        set(schema.parameters()) | set(TYPES) | {"vnd.mailhook."}


def test_events_md_names_every_cause_and_end():
    exact = SCHEMA["$defs"]["exactData"]["properties"]
    for name in ("vnd.mailhook.cause", "vnd.mailhook.disconnect"):
        for value in exact[name]["enum"]:
            assert f"`{value}`" in EVENTS, value


def rows(title):
    """{name: cells} of a table in conformance.md."""
    part = re.search(rf"(?ms)^## {title}\n(.*?)^## ", CONFORMANCE)[1]
    return {line.split("|")[1].strip(" `"): line.split("|")[2:]
            for line in part.splitlines() if line.startswith("| `")}


def test_conformance_md_has_all_of_the_rfc():
    rfc = {name for name in TYPES if not name.startswith("vnd.")}
    assert set(rows("Events")) == rfc and len(rfc) == 18
    assert set(rows("Parameters")) == set(PARAMETERS)
    assert len(PARAMETERS) == 27
    assert {name for name in schema.parameters()
            if not name.startswith("vnd.")} == set(PARAMETERS)


def test_conformance_md_names_tests_that_exist():
    named = re.findall(r"`(test_\w+\.py)::(test_\w+)`", CONFORMANCE)
    for file, test in named:
        text = (build.SOURCE / "tests" / "system" / file).read_text("utf-8")
        assert re.search(rf"(?m)^def {test}\(", text), f"{file}::{test}"
    for title in ("Events", "Parameters"):
        for name, cells in rows(title).items():
            assert re.search(r"::test_\w+`", cells[0]), name


@pytest.mark.parametrize("name", ["events.md", "parameters.md",
                                  "receiving.md", "conformance.md"])
def test_links_lead_somewhere(name):
    text = (DOC / name).read_text("utf-8")
    for target in re.findall(r"\]\(([^)]+)\)", text):
        path, _, anchor = target.partition("#")
        if target.startswith("https://"):
            continue
        other = DOC / path if path else DOC / name
        assert other.is_file(), target
        if anchor:
            headings = re.findall(r"(?m)^#+ (.*)$", other.read_text("utf-8"))
            assert anchor in [re.sub(r"[^\w -]", "", heading).lower()
                              .replace(" ", "-") for heading in headings]


# -- manual pages

MAN = {path.name.removesuffix(".in"): path.read_text("utf-8")
       for path in (build.SOURCE / "man").glob("*.in")}
CONF = (build.SOURCE / "conf.d" / "mailhook.conf").read_text("utf-8")


def items(page, macro):
    """What `.It` lines introduce with this macro."""
    return {word for line in re.findall(r"(?m)^\.It (.*)$", MAN[page])
            for word in re.findall(rf"{macro} (?:\\*&)?([\w.]+)", line)}


def installed(page):
    return build.ROOT / "share" / "man" / f"man{page[-1]}" / page


@pytest.mark.parametrize("page", MAN)
def test_manual_page_lints_clean(page):
    assert installed(page).is_file()
    assert "@" not in re.sub(r"\S@\S+\.com", "", installed(page).read_text())
    said = subprocess.run(["mandoc", "-Tlint", "-Wstyle", installed(page)],
                          stdout=subprocess.PIPE, text=True).stdout
    # Others need not be installed, least of all ours.
    assert [line for line in said.splitlines()
            if "referenced manual not found" not in line] == []


def test_conf_page_has_every_key_and_default():
    explained = dict(re.findall(r"(?m)^#?\t?#? ?(\w+) += (.*?) *(?:# *<--)?$",
                                re.sub(r"(?m)^#\t", "#", CONF)))
    assert len(explained) > 30
    assert items("mailhook.conf.5", "Ic") == set(explained)
    for name, value in explained.items():
        if name in ("url", "secret", "secret_file", "server_name"):
            continue
        value = re.sub(r'"(.*)"', r"Qq \1", value).strip()
        if name.endswith("_file"):
            value = "Qq"
        assert re.search(rf"Ic {name} = {re.escape(value)}( ,|$)",
                         MAN["mailhook.conf.5"], re.M), (name, value)


def test_events_page_has_every_event_and_parameter():
    assert items("mailhook-events.7", "Sy") == set(TYPES)
    for name, group in TYPES.items():
        line = f".It Sy {name}" + \
            ("" if group == "OWN" else f" Bq {group.lower()}")
        assert f"\n{line}\n" in MAN["mailhook-events.7"], name
    named = set(re.findall(r"(?<= )[\w.]+",
                           " ".join(re.findall(r"(?m)^\.It Va(.*)$",
                                               MAN["mailhook-events.7"]))))
    assert named == set(schema.parameters())


def ctl_help(*command):
    return subprocess.run([build.CTL, *command, "--help"], check=True,
                          text=True, stdout=subprocess.PIPE).stdout


def test_ctl_page_has_every_command_and_option():
    usage = re.findall(r"(?m)^  ([a-z]+(?:, [a-z]+)*) .*$",
                       ctl_help().split("Examples:")[0])
    commands = {name for names in usage for name in names.split(", ")}
    assert len(commands) > 12
    page = MAN["mailhookctl.8"]
    assert {name for line in re.findall(r"(?m)^\.It (.*)$", page)
            for name in re.findall(r"Ic (\w+)", line)} == commands
    options = {option for text in (ctl_help(), *map(ctl_help, commands))
               for option in re.findall(r"--([a-z0-9-]+)", text)}
    assert options == set(re.findall(r"Fl -([a-z0-9-]+)", page))


def test_daemon_page_has_every_option():
    help_text = subprocess.run([build.DAEMON, "--help"], check=True,
                               text=True, stdout=subprocess.PIPE).stdout
    assert set(re.findall(r"(?m)^  --([a-z-]+)", help_text)) == {
        name for line in re.findall(r"(?m)^\.It (Fl .*)$",
                                    MAN["mailhookd.8"])
        for name in re.findall(r"Fl -([a-z-]+)", line)}
