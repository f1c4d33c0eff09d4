"""What the plugin adds to a mail operation in instructions and system calls,
so that something slow shows without a clock. `tests/bench` has the figures
that users see; here it is that they stay."""

import os

import pytest

from harness.cost import CannotCount, Counter
from harness.dialect import SERIES
from harness.dovecot import Dovecot

pytestmark = pytest.mark.skipif(
    bool(os.environ.get("MAILHOOK_SANITIZE")),
    reason="sanitizers' own instructions would be counted")

FEW, MANY = 2, 12
ENDPOINT = """\
server_name = "mail.example.org"
metrics = ""
endpoint one {
    url = "http://127.0.0.1:9/"
    secret = {"whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSwMfKQ9r8GKYqrTwjU"}
    events = {%s}
    users = {%s}
}
"""
USER = "cost@example.org"
# The most, beside no plugin at all: with nothing of it wanted, with all events.
RATIOS = {
    "2.3": {"store": (1.03, 1.085), "append": (1.025, 1.065),
            # A whole session, beside one with a plugin that does nothing.
            "session": (1.035, 1.04)},
    "2.4": {"store": (1.04, 1.12), "append": (1.04, 1.08)},
}[SERIES]
STORE = ["STORE 1 +FLAGS (\\Flagged)", "STORE 1 -FLAGS (\\Flagged)"]
APPEND = ["APPEND Bench {mail}"]
COPY = ["COPY 1 Bench"]


@pytest.fixture(scope="module")
def counters():
    made = {}
    try:
        for name, events in (("without", None), ("other", '"MailboxRename"'),
                             ("all", "")):
            dovecot = Dovecot(plugin=events is not None, daemon="foreground",
                              config=ENDPOINT % (events, "")
                              if events is not None else "")
            made[name] = None, dovecot
            if events is not None:
                dovecot.start_daemon()
            made[name] = Counter(dovecot, 20, USER), dovecot
        yield {name: counter for name, (counter, _) in made.items()}
    except CannotCount as why:
        pytest.skip(str(why))
    finally:
        for _, dovecot in made.values():
            dovecot.remove()


def instructions(counter, commands):
    """Of the commands once: what a session costs drops out."""
    few, many = (counter.instructions(
        ["SELECT INBOX", "NOOP", *commands * times, "LOGOUT"])
        for times in (FEW, MANY))
    return (many - few) / (MANY - FEW)


@pytest.mark.parametrize("commands, limits", [
    pytest.param(STORE, RATIOS["store"], id="store"),
    pytest.param(APPEND, RATIOS["append"], id="append"),
])
def test_instructions(counters, commands, limits):
    try:
        counts = {name: instructions(counter, commands)
                  for name, counter in counters.items()}
    except CannotCount as why:
        pytest.skip(str(why))
    ratios = {name: count / counts["without"]
              for name, count in counts.items()}
    print(commands[0], counts, ratios)
    assert ratios["other"] <= limits[0], counts
    assert ratios["all"] <= limits[1], counts


def fewest(counter, commands, mine=None):
    """Calls of each command, or those that touch mailhook's directory, in
    the best of several tries: now and then the index does something."""
    calls = counter.system_calls(
        ["SELECT INBOX", "NOOP", *commands * 6, "LOGOUT"])
    tries = calls[3:-1]
    if mine is None:
        return min(len(one) for one in tries)
    return min(([line.partition("(")[0] for line in one
                 if f"<{mine.dovecot.state}" in line]
                for one in tries), key=len)


def at_most(limit, counter, commands):
    """The fewest of three sessions, or of the first that keeps the limit:
    where one takes long Dovecot looks at its own files once more."""
    counts = []
    while len(counts) < 3 and min(counts, default=limit + 1) > limit:
        counts.append(fewest(counter, commands))
    return min(counts)


def names(calls):
    """fstat() has more than one name."""
    return ["fstat" if call in ("newfstatat", "fstat") else call
            for call in calls]


OURS = ["fstat", "pwrite64", "lseek", "write", "fstat", "pwrite64"]


@pytest.mark.parametrize("commands, beside", [
    # Two of them are more looks, as below.
    pytest.param(STORE, 3, id="store"),
    pytest.param(APPEND, 3, id="append"),
    # The size of its source comes from the cache.
    pytest.param(COPY, {"2.3": 7, "2.4": 10}[SERIES], id="copy"),
])
def test_system_calls(counters, commands, beside):
    """One look for a new interest; for an event: what is about to change,
    where the file ends, the record, whether the file is still there, and that
    the change is told. Neither the index nor a message is read again."""
    try:
        plain = fewest(counters["without"], commands)
        other = at_most(plain + 1, counters["other"], commands)
        nothing = names(fewest(counters["other"], commands,
                               counters["other"]))
        ours = names(fewest(counters["all"], commands, counters["all"]))
        wanted = at_most(plain + len(OURS) + beside, counters["all"],
                         commands)
    except CannotCount as why:
        pytest.skip(str(why))
    print(commands[0], plain, other, wanted, nothing, ours)
    assert nothing == ["fstat"]
    # Traced, an operation takes so long that it looks once more, before it
    # says what it is about to change or behind that.
    for at in (1, 2):
        if ours[at] == "fstat":
            del ours[at]
    assert ours == OURS
    assert other <= plain + 1
    assert wanted <= plain + len(OURS) + beside


SESSION = ["SELECT INBOX", "LOGOUT"]


@pytest.mark.skipif("session" not in RATIOS, reason="was not measured there")
def test_session(counters):
    """What a mail process does more from its start to its end: it loads the
    plugin and binds what that calls, reads the interest and tells of a Login
    and a Logout. To load any plugin Dovecot compares the names of all that
    there are, so this is beside one that has nothing to do."""
    idle = Dovecot(plugin=False, mail_plugins={"": ("welcome",)})
    try:
        counts = {"idle": Counter(idle, 20, USER).instructions(SESSION)}
        counts |= {name: counters[name].instructions(SESSION)
                   for name in ("without", "other", "all")}
    except CannotCount as why:
        pytest.skip(str(why))
    finally:
        idle.remove()
    print(counts)
    # That it was loaded.
    assert counts["idle"] > 1.01 * counts["without"], counts
    for name, limit in zip(("other", "all"), RATIOS["session"]):
        assert counts[name] <= limit * counts["idle"], counts
    journal = b"".join(path.read_bytes() for path in
                       counters["all"].dovecot.state.glob("journal*"))
    # The one that made the mailbox and the one that was counted, at least.
    for event in b"Login", b"Logout":
        assert journal.count(b'"type":"%s"' % event) >= 2



def of_many(count):
    """Patterns: names, whole domains, exclusions, and a few to be walked."""
    kinds = ("user{0}@example.org", "*@domain{0}.example", "!no{0}@a.example",
             "{0}@b.example")
    return [kinds[n % len(kinds)].format(n) for n in range(count - 3)] + [
        "we*d@example.net", USER, "!left@example.org"]


def records(dovecot, user):
    """What the journal has of them."""
    return sum(path.read_bytes().count(f'"user":"{user}"'.encode())
               for path in dovecot.state.glob("journal*"))


@pytest.fixture(scope="module")
def listed():
    made = {}
    try:
        for count in (10, 200_000):
            users = ", ".join(f'"{one}"' for one in of_many(count))
            made[count] = Dovecot(daemon="foreground",
                                  config=ENDPOINT % ("", users))
            made[count].start_daemon()
        yield made
    finally:
        for dovecot in made.values():
            dovecot.remove()


def test_login_with_many_users(listed):
    """A mail process looks its own user up in the interest."""
    try:
        counts = {count: Counter(dovecot, 1, USER).instructions(SESSION)
                  for count, dovecot in listed.items()}
    except CannotCount as why:
        pytest.skip(str(why))
    print(counts)
    assert counts[200_000] <= 1.03 * counts[10], counts
    for dovecot in listed.values():
        # Made and measured: two sessions, each a Login and a Logout at least.
        assert records(dovecot, USER) >= 4


@pytest.mark.parametrize("user, wanted", [
    ("user4@example.org", True), ("user199996@example.org", True),
    ("user5@example.org", False), ("user4@example.or", False),
    ("anybody@domain1.example", True), ("anybody@domain2.example", False),
    ("x@y@domain199993.example", True), ("no2@a.example", False),
    ("weird@example.net", True), ("we@example.net", False),
    ("left@example.org", False),
])
def test_the_right_ones_of_many(listed, user, wanted):
    try:
        Counter(listed[200_000], 0, user)
    except CannotCount as why:
        pytest.skip(str(why))
    assert (records(listed[200_000], user) > 0) is wanted
