"""Fixtures: one receiver and one Dovecot for the session, a fresh mail user
for each test, and private servers for tests that break things."""

import itertools
import re
import shutil
import signal
import tempfile

import pytest

pytest.register_assert_rewrite("harness.expect")

from harness import build, npm, schema  # noqa: E402
from harness.dovecot import Dovecot
from harness.expect import Mail
from harness.receiver import Receiver, new_secret

# All that has to do with mailboxes; Login and Logout have tests of their own
# and would only stand between what a test compares.
STORE_EVENTS = '{"message", "flags", "mailbox", "subscription", "quota"}'

_user = itertools.count(1)
_path = itertools.count(1)


@pytest.hookimpl(tryfirst=True) # before pytest makes its own of it
def pytest_configure(config):
    # pytest closes the directory it would take to others each time one
    # starts, while mail processes of another run use files in it.
    if config.option.basetemp is None:
        directory = tempfile.mkdtemp(prefix="mailhook-pytest-")
        config.option.basetemp = directory
        config.add_cleanup(
            lambda: shutil.rmtree(directory, ignore_errors=True))
    # Asked to stop, the run still takes its servers down.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    config.addinivalue_line(
        "markers", "made_up_events: the test writes records of its own into "
        "a journal, which are not asked to fit the schema")
    missing = build.missing()
    if missing:
        pytest.exit("not built: " + ", ".join(missing) +
                    "\nRun tests/run-all, or set MAILHOOK_BUILD to a build "
                    "directory that tests/system/prepare.sh made.", 3)
    if build.other_daemon():
        pytest.exit(f"{build.LAUNCHER} does not run {build.DAEMON}: it was "
                    "built for another prefix, build it for this one.", 3)
    build.show_settings_module()


class Configuration:
    """mailhook.conf of one Dovecot as a list of endpoints."""

    def __init__(self, receiver):
        self.receiver = receiver
        self.dovecot = None
        self.endpoints = {}
        self.settings = {"server_name": '"mail.example.org"',
                         "metrics": '""'}

    def add(self, name, events=STORE_EVENTS, secrets=1, url=None, path=None,
            **keys):
        """A new endpoint with a path of its own; returns the path."""
        path = path or f"/{name}-{next(_path)}"
        self.receiver.secrets[path] = [new_secret() for _ in range(secrets)]
        self.endpoints[name] = {
            "url": f'"{url or self.receiver.url(path)}"',
            "secret": self._list(self.receiver.secrets[path]),
            "events": events, **keys}
        return path

    @staticmethod
    def _list(values):
        return "{" + ", ".join(f'"{value}"' for value in values) + "}"

    def text(self):
        lines = [f"{k} = {v}" for k, v in self.settings.items()]
        for name, keys in self.endpoints.items():
            lines.append(f"endpoint {name} {{")
            lines += [f"    {k} = {v}" for k, v in keys.items()]
            lines.append("}")
        return "\n".join(lines) + "\n"

    def write(self):
        self.dovecot.configure(self.text())

    def apply(self):
        self.write()
        answer = self.dovecot.ask("reload")
        assert answer["ok"], answer


@pytest.fixture(scope="session")
def receiver():
    one = Receiver()
    yield one
    one.stop()
    complaints = schema.complaints()
    assert not complaints, "\n".join(complaints[:5])


@pytest.fixture(scope="session")
def modules():
    """node_modules with the reference libraries."""
    return npm.modules()


@pytest.fixture(scope="session")
def shared(receiver):
    """(Configuration, path) of the session's Dovecot."""
    configuration = Configuration(receiver)
    path = configuration.add("all", path="/all")
    with Dovecot(config=configuration.text()) as dovecot:
        configuration.dovecot = dovecot
        yield configuration, path


@pytest.fixture(scope="session")
def dovecot(shared):
    return shared[0].dovecot


@pytest.fixture(autouse=True)
def valid(request):
    """Whatever came during a test is as the schema says; what still came
    after it is looked at with the next one."""
    yield
    if request.node.get_closest_marker("made_up_events"):
        schema.forget()
    complaints = schema.complaints()
    assert not complaints, "\n".join(complaints[:5])


def fresh_user(name="user"):
    return f"{name}{next(_user)}@example.org"


@pytest.fixture
def mail(shared, receiver):
    return Mail(shared[0].dovecot, receiver, shared[1], fresh_user())


@pytest.fixture
def other(shared, receiver):
    return Mail(shared[0].dovecot, receiver, shared[1], fresh_user())


@pytest.fixture
def configuration(shared):
    """The shared configuration; endpoints a test adds go with it."""
    one = shared[0]
    before = dict(one.endpoints)
    yield one
    if one.endpoints != before:
        one.endpoints = before
        one.apply()


class Served:
    """A Dovecot with one endpoint that gets all there is but sessions."""

    def __init__(self, receiver, **options):
        self.receiver = receiver
        self.configuration = Configuration(receiver)
        self.path = self.configuration.add("all",
                                           **options.pop("endpoint", {}))
        self.configuration.settings.update(options.pop("settings", {}))
        self.dovecot = Dovecot(config=self.configuration.text(), **options)
        self.configuration.dovecot = self.dovecot

    def mail(self, name=None):
        return Mail(self.dovecot, self.receiver, self.path,
                    name or fresh_user())


@pytest.fixture(scope="module")
def serve(receiver):
    """A maker of servers for all tests of a file: serve(**options of
    Dovecot) gives a Served, started; `settings` go to mailhook.conf."""
    made = []

    def make(**options):
        one = Served(receiver, **options)
        made.append(one)
        one.dovecot.start()
        return one

    yield make
    for one in made:
        one.dovecot.remove()


@pytest.fixture
def private(receiver):
    """A maker of private servers: private(daemon=..., **endpoint keys) gives
    (Dovecot, Configuration, path), started."""
    made = []

    def make(daemon="foreground", start=True, endpoint=None, **options):
        configuration = Configuration(receiver)
        path = configuration.add("only", **(endpoint or {}))
        one = Dovecot(daemon=daemon, config=configuration.text(), **options)
        configuration.dovecot = one
        made.append(one)
        if start:
            if daemon == "foreground":
                one.start_daemon()
            one.start()
        return one, configuration, path

    yield make
    for one in made:
        one.remove()


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    """A failure shows the end of the servers' logs."""
    report = (yield).get_result()
    if report.when == "call" and report.failed:
        for name in ("dovecot", "mail"):
            one = getattr(item, "funcargs", {}).get(name)
            one = getattr(one, "dovecot", one)
            if one:
                lines = [line for line in one.log().splitlines()
                         if re.search("mailhook|Error|Fatal|Panic", line)]
                report.sections.append(("log", "\n".join(lines[-20:])))
                break
