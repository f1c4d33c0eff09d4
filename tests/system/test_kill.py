"""kill -9 at any moment, under load, in rounds: clients of every kind change
mail on several users in several formats while processes are killed. Then all
stands still, and the oracle (harness/oracle.py) compares what was asked for
and acknowledged, what came at two receivers, one of which often refuses or
is slow, and what IMAP shows.

    MAILHOOK_KILL_ROUNDS=500   that many rounds instead of a few
    MAILHOOK_KILL_SECONDS=900  no other round after so long
    MAILHOOK_KILL_SEED=17      the rounds of an earlier run (shown on failure);
                               moments within a round are never quite the same
    MAILHOOK_KILL_LOG=FILE     a line for each round
    MAILHOOK_KILL_ALL=1        goes on after a violation and shows all of them
    MAILHOOK_KILL_KINDS=imap   only these are killed (imap,lmtp,...)
    MAILHOOK_KILL_USERS=md     only these users' clients work, twice as many
    MAILHOOK_KILL_KEEP=DIR     keeps there, of each round with a violation,
                               mail, state, logs and what the oracle was told

By hand, figures at the end (-s shows them):
    MAILHOOK_BUILD=... MAILHOOK_KILL_ROUNDS=500 nice python3 -m pytest -s \\
        -p no:cacheprovider tests/system/test_kill.py
"""

import copy
import os
import pprint
import random
import re
import shutil
import signal
import threading
import time
from collections import Counter
from pathlib import Path

import pytest

from conftest import Configuration
from harness.dialect import DIALECT, Namespace, User
from harness.dovecot import MAIL_UID, Dovecot
from harness.load import (DoveadmClient, ImapClient, JournalFollower,
                          LmtpClient, Pop3Client, log_notes, log_strays,
                          look)
from harness.oracle import GONE, Numbers, Oracle, Place, Violation
from harness.receiver import Answer, Receiver
from test_daemon import MAIL, RS, all_came
from test_delivery import uid
from test_recovery import fill_file

# Processes with the sanitizers start slowly.
FEW = 4 if "MAILHOOK_SANITIZE" in os.environ else 8
ROUNDS = int(os.environ.get("MAILHOOK_KILL_ROUNDS", FEW))
SEED = int(os.environ.get("MAILHOOK_KILL_SEED",
                          random.SystemRandom().randrange(10 ** 6)))
EACH = ("imap", "lmtp", "pop3", "doveadm", "mailhookd")
KINDS = tuple(os.environ.get("MAILHOOK_KILL_KINDS",
                             ",".join((*EACH, "all"))).split(","))
KEEP = os.environ.get("MAILHOOK_KILL_KEEP")
SECONDS = float(os.environ.get("MAILHOOK_KILL_SECONDS", "inf"))
# A new journal file in one of so many rounds; files go after a second.
ROTATE = 6
EVENTS = '{"message", "flags", "mailbox", "subscription"}'
SD, MD, DD, POP, GUEST = (f"{name}@example.org" for name in
                          ("sd", "md", "dd", "pop", "guest"))
AT_WORK = {f"{name}@example.org" for name in
           os.environ.get("MAILHOOK_KILL_USERS", "").split(",") if name}
SHARED = [
    Namespace("public", type="public", prefix="Public/", driver="maildir",
              path="{mail}/public-mail", subscriptions=False),
    Namespace("shared", type="shared", prefix="shared/{owner}/",
              path="{mail}/{owner}/sdbox", subscriptions=False,
              list="children"),
]
# How long a Resync for what nothing tells of is waited for.
WAIT = float(os.environ.get("MAILHOOK_KILL_WAIT", 20))
# Longer than an endpoint waits.
SLOW = 1.3


class Endpoint:
    """One receiver's path: its requests in order, once their answer is out."""

    def __init__(self, receiver, path):
        self.receiver = receiver
        self.path = path
        self.numbers = Numbers()
        self.answered = set()
        self._came = []
        self._counted = self._taken = 0
        self.refused = 0

    def requests(self):
        return self.receiver.on(self.path)

    def has(self, ids):
        """Whether all of them were answered 2xx, and no answer is out."""
        requests = self.requests()
        now = time.monotonic()
        for at in range(self._counted, len(requests)):
            request = requests[at]
            if not request.answered and now < request.arrived + SLOW + 0.2 \
                    and getattr(request, "slow", False):
                return False
            # As it is now: answered is answered, even if the octets then
            # found that nobody was there to take them.
            request = copy.copy(request)
            self._came.append(request)
            if 200 <= request.answered < 300:
                self.answered.add(request.id)
            else:
                self.refused += 1
            self._counted = at + 1
        return ids <= self.answered

    def new(self):
        """First occurrences of events since the last take()."""
        self.numbers.feed(self._came)
        self._came = []
        return self.numbers.first[self._taken:]

    def take(self):
        self._taken = len(self.numbers.first)


class Kills:
    """SIGKILL to processes of this server."""

    def __init__(self, server):
        self.server = server
        self.figures = Counter()
        self.left = []    # what the dead were about, if it is of interest

    def _children(self, name):
        master = str(self.server.dovecot.process.pid)
        ticks = os.sysconf("SC_CLK_TCK")
        for entry in Path("/proc").iterdir():
            if not entry.name.isdigit():
                continue
            try:
                head, tail = (entry / "stat").read_text().rsplit(")", 1)
            except OSError:
                continue
            fields = tail.split()
            # Not while it starts: the master waits longer each time that a
            # process dies before it has said it is up.
            age = time.clock_gettime(time.CLOCK_BOOTTIME) - \
                int(fields[19]) / ticks
            if head.split("(", 1)[1] == name and fields[1] == master and \
                    fields[0] != "Z" and age > 0.1:
                yield int(entry.name)

    def victims(self, kind):
        if kind == "mailhookd":
            return [self.server.dovecot.daemon_process.pid]
        if kind == "doveadm":
            return [client.process.pid for client in self.server.clients
                    if getattr(client, "process", None) and
                    client.process.poll() is None]
        return list(self._children(kind))

    def _intents(self):
        """Strings of the images in presence that are not empty."""
        image = (self.server.dovecot.state / "presence").read_bytes()[528384:]
        return [image[at:at + 1024].replace(b"\0", b"")
                for at in range(0, len(image), 1024) if image[at]]

    def kill(self, kind, chance):
        kinds = EACH if kind == "all" else [kind]
        victims = [(one, pid) for one in kinds for pid in self.victims(one)]
        if not victims:
            return False
        if kind != "all":
            victims = chance.sample(victims,
                                    chance.randrange(1, len(victims) + 1))
        for one, pid in victims:
            try:
                os.kill(pid, signal.SIGKILL)
                self.figures[one] += 1
            except ProcessLookupError:
                pass
        if kind == "all":
            self.figures["all at once"] += 1
        if KEEP:
            self.left.append((time.monotonic(), victims, self._intents()))
        if kind in ("mailhookd", "all"):
            dovecot = self.server.dovecot
            dovecot.stop_daemon(signal.SIGKILL)
            time.sleep(chance.choice([0, 0, 0.1, 0.3]))
            dovecot.start_daemon(wait=False)
        return True


class LockBreaker(threading.Thread):
    """Removes locks that a process was killed in making, so that they do not
    name it: Dovecot would do so itself after two minutes or three."""

    BOXES = ("*/maildir", "*/maildir/.*", "public-mail", "public-mail/.*",
             "*/?dbox/mailboxes/*/dbox-Mails")
    LOCKS = ("dovecot*.lock", "dovecot*.newlock")
    OLD = 5

    def __init__(self, mail):
        super().__init__()
        self.mail = mail
        self.over = threading.Event()
        self.start()

    def run(self):
        while not self.over.wait(1):
            for box in self.BOXES:
                for lock in self.LOCKS:
                    for path in self.mail.glob(f"{box}/{lock}"):
                        self._look_at(path)

    def _look_at(self, path):
        try:
            stat = path.stat()
            if stat.st_size == 0 and time.time() - stat.st_mtime > self.OLD:
                path.unlink()
        except FileNotFoundError:
            pass

    def stop(self):
        self.over.set()
        self.join()


class Server:
    """A Dovecot with users in every format, clients, and two endpoints."""

    USERS = (SD, MD, DD, POP)
    PUBLIC = ("Public/News",)

    def __init__(self, seed):
        self.chance = random.Random(seed)
        self.receiver = Receiver()
        # Connections of a killed daemon.
        self.receiver._server.handle_error = lambda *_: None
        configuration = Configuration(self.receiver)
        configuration.settings["retention"] = '"1s"'
        keys = {"events": EVENTS, "parameters": '{"headers"}',
                "retry_first": '"50ms"', "retry_max": '"200ms"',
                "timeout": '"1s"'}
        self.endpoints = [
            Endpoint(self.receiver, configuration.add(name, **keys))
            for name in ("good", "bad")]
        self.receiver.script(self.endpoints[1].path, choose=self._answer)
        fields = {MD: DIALECT.user_mail("maildir", "~/maildir"),
                  DD: DIALECT.user_mail("mdbox", "~/mdbox")}
        self.dovecot = Dovecot(
            daemon="foreground", config=configuration.text(),
            namespaces=SHARED, users=[
                User(name, MAIL_UID, fields=fields.get(name, {}))
                for name in (*self.USERS, GUEST)])
        self.journal = JournalFollower(self.dovecot.state)
        self.clients = []
        self.kills = Kills(self)
        self.breaker = LockBreaker(self.dovecot.top / "mail")

    def _answer(self, request):
        what = self._answers.random()
        if what < 0.1:
            return Answer(self._answers.choice((500, 503, 404)))
        if what < 0.12:
            return Answer(close=True)
        if what < 0.123:
            request.slow = True
            return Answer(delay=SLOW)
        return None

    def __enter__(self):
        self._answers = random.Random(self.chance.random())
        try:
            self.dovecot.start_daemon()
            self.dovecot.start()
            self._make_mailboxes()
            self._make_clients()
            bad = self.settle()
            for endpoint in self.endpoints:
                bad += endpoint.numbers.violations
            assert not bad, said_of(bad)
            for endpoint in self.endpoints:
                endpoint.new()
                endpoint.take()
            self.oracle = Oracle(self.truth())
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        self.breaker.stop()
        self.dovecot.remove()
        self.receiver.stop()
        self.journal.close()

    def _make_mailboxes(self):
        for user in self.USERS:
            with self.dovecot.imap(user) as imap:
                imap.ok("CREATE Work")
                imap.ok("CREATE Adm")
                if user == SD:
                    imap.ok('CREATE "Public/News"')

    def _make_clients(self):
        def own(user, *names):
            return {Place(user, name): name for name in names}

        def make(kind, user, paths, consumes=(), **more):
            self.clients.append(kind(
                self.dovecot, random.Random(self.chance.random()), user,
                paths, consumes, **more))

        news = {Place("", "Public/News"): "Public/News"}
        for user in (SD, MD, DD):
            make(ImapClient, user, own(user, "INBOX", "Work"),
                 own(user, "INBOX", "Work"))
        make(ImapClient, GUEST, {
            Place(SD, "Work"): f"shared/{SD}/Work", **news}, own=False)
        make(ImapClient, MD, {**own(MD, "Work"), **news}, own=False)
        make(Pop3Client, POP, own(POP, "INBOX"), own(POP, "INBOX"))
        make(LmtpClient, None, {Place(user, "INBOX"): None
                                for user in self.USERS})
        make(DoveadmClient, None, {**own(SD, "Adm"), **own(MD, "Adm")})
        if AT_WORK:
            for user in sorted(AT_WORK):
                make(ImapClient, user, own(user, "INBOX", "Work"), own=False)
            self.clients = [client for client in self.clients
                            if client.user in AT_WORK]

    def truth(self):
        return look(self.dovecot, self.USERS, self.PUBLIC)

    def settle(self, timeout=30):
        """Until all that stands in the journal was answered by both; what
        never was, once nothing comes for so long, or as soon as a receiver
        is surprised."""
        self.journal.read()
        seen, end = None, 0
        while not all([one.has(self.journal.ids) for one in self.endpoints]) \
                or self.journal.read():
            assert self.dovecot.daemon_process.poll() is None, \
                "mailhookd died by itself"
            answered = sum(len(one.answered) for one in self.endpoints)
            if answered != seen:
                seen, end = answered, time.monotonic() + timeout
            for one in self.endpoints:
                one.new()
            if time.monotonic() > end or any(
                    one.numbers.violations for one in self.endpoints):
                return [Violation("a", f"appended, but {one.path} never took "
                                  f"{sorted(self.journal.ids - one.answered)}"
                                  [:200])
                        for one in self.endpoints
                        if not self.journal.ids <= one.answered]
            time.sleep(0.02)
        return []

    def rotate(self):
        """A filler that fills the journal's file."""
        fill_file(self.dovecot)

    # -- one round

    def round(self, number):
        chance = self.chance
        kinds = [KINDS[number % len(KINDS)]]
        kinds += chance.choices(KINDS, k=chance.choice([0, 1, 1, 2]))
        rotated = number % ROTATE == ROTATE - 1
        until = threading.Event()
        self.kills.left = []
        self._logged = len(self.dovecot.log_file.read_text("utf-8",
                                                           "replace"))
        for client in self.clients:
            client.begin(self.oracle.truth)
            client.start(until)
        try:
            if rotated:
                time.sleep(chance.random() * 0.2)
                self.rotate()
            for kind in kinds:
                time.sleep(chance.random() * 0.5)
                self._kill(kind)
            time.sleep(chance.random() * 0.2)
        finally:
            until.set()
            for client in self.clients:
                client.join()
        self.dovecot.wait_daemon()
        changes = [change for client in self.clients
                   for change in client.changes]
        return kinds, self._check(changes, rotated)

    def _kill(self, kind):
        end = time.monotonic() + 1
        while not self.kills.kill(kind, self.chance) and \
                time.monotonic() < end:
            time.sleep(self.chance.random() * 0.02)

    def _check(self, changes, rotated):
        """What is not covered may still be: a Resync is told a moment after
        the death."""
        quiet = time.monotonic()
        end = quiet + WAIT
        while True:
            never = self.settle()
            # What a dead session left in a maildir is seen by who looks
            # later than within the same second.
            time.sleep(max(0, quiet + 1.2 - time.monotonic()))
            self._have_read_again()
            truth = self.truth()
            check = self.oracle.check(changes, self.endpoints[0].new(), truth,
                                      rebuilt=self._rebuilt(),
                                      rotated=rotated,
                                      noted=self._noted,
                                      strayed=self._strayed)
            if never or not check.uncovered or time.monotonic() > end:
                break
            time.sleep(0.2)
        check.violations += never
        self._other_endpoint(check)
        for endpoint in self.endpoints:
            endpoint.take()
            check.violations += endpoint.numbers.contiguous()
            endpoint.numbers.violations = []
        self.oracle.accept(check)
        return check

    def _rebuilt(self):
        """Whose mdbox Dovecot rebuilt in this round, as its log says."""
        text = self.dovecot.log_file.read_text("utf-8", "replace")
        users = set(re.findall(r"\w+\(([^)]*)\).*: rebuilding indexes",
                               text[self._logged:]))
        self.oracle.figures["rebuilt by Dovecot"] += len(users)
        return users

    def _other_endpoint(self, check):
        """It got the same events, however often it refused them."""
        first, second = ({e.id: e.data for e in one.new()}
                         for one in self.endpoints)
        if first != second:
            check._say("c", "the endpoints differ in "
                       f"{set(first) ^ set(second) or 'data'}")

    def _maildirs(self):
        """Their mailboxes, by place."""
        mail = self.dovecot.top / "mail"
        boxes = {Place(MD, "INBOX"): mail / MD / "maildir"}
        for owner, prefix, root in ((MD, "", mail / MD / "maildir"),
                                    ("", "Public/", mail / "public-mail")):
            for path in root.glob(".*/cur"):
                boxes[Place(owner, prefix + path.parent.name[1:])] = \
                    path.parent
        return boxes

    def _noted(self, place, *change):
        box = self._maildirs().get(place)
        return box is not None and log_notes(
            transaction_log(self.dovecot, box), *change)

    def _strayed(self, place, *message):
        box = self._maildirs().get(place)
        return box is not None and log_strays(
            transaction_log(self.dovecot, box), *message)

    def _have_read_again(self):
        """What the names of a maildir's files say that the index does not
        know, is found when the directory has changed."""
        for box in self._maildirs().values():
            os.utime(box / "cur")

    def keep(self, number, check):
        """What has to be read to understand a violation. What was expunged
        or told long ago is not in there any more."""
        directory = Path(KEEP) / f"{SEED}-{number}"
        shutil.copytree(self.dovecot.top, directory / "dovecot",
                        symlinks=True, ignore=lambda at, names: [
                            name for name in names if not
                            ((Path(at) / name).is_dir() or
                             (Path(at) / name).is_file())])
        (directory / "round").write_text("\n".join(
            f"{name}:\n{pprint.pformat(value, width=160)}\n"
            for name, value in {
                "violations": check.violations, "left": self.kills.left,
                "changes": check.changes, "events": check.events,
                "before": check.before, "truth": check.truth}.items()))

    def report(self, rounds, seconds):
        figures = {
            "seed": SEED, "rounds": rounds, "seconds": round(seconds),
            **{f"killed {kind}": n
               for kind, n in sorted(self.kills.figures.items())},
            **self.oracle.figures,
            "redeliveries": sum(one.numbers.redeliveries
                                for one in self.endpoints),
            "refused": sum(one.refused for one in self.endpoints),
            "lost connections": sum(c.lost for c in self.clients)}
        return ", ".join(f"{name} {n}" for name, n in figures.items())


def transaction_log(dovecot, box):
    """Older first."""
    return "".join(
        dovecot.doveadm("dump", log, check=False).stdout
        for log in sorted(box.glob("dovecot.index.log*"), reverse=True))


def test_what_is_asked_for_stands_in_the_log(private):
    dovecot, _, _ = private(daemon=None, mail_driver="maildir")
    with dovecot.imap("log@example.org") as imap:
        for _ in range(3):
            imap.append("INBOX", MAIL)
        imap.ok("SELECT INBOX")
        imap.ok("STORE 1:2 +FLAGS (\\Deleted $Junk)")
        imap.ok("STORE 1 -FLAGS ($Junk)")
        imap.ok("UID EXPUNGE 2")
    [log] = (dovecot.top / "mail").glob("log@*/**/dovecot.index.log")
    text = transaction_log(dovecot, log.parent)

    def noted(before, after):
        return [uid for uid in (1, 2, 3)
                if log_notes(text, uid, before, after)]

    assert noted(set(), GONE) == [2]
    assert noted(set(), {"\\Deleted"}) == [1, 2]
    assert noted({"\\Deleted"}, set()) == noted(set(), {"\\Seen"}) == []
    assert noted(set(), {"$Junk"}) == [2]
    assert noted({"$Junk"}, set()) == [1]
    assert not any(log_strays(text, uid, 0) for uid in (1, 2, 3))
    [name] = log.parent.glob("cur/*,S=*:2,T")
    name.rename(f"{name}S")
    os.utime(log.parent / "cur", (1, 1))
    with dovecot.imap("log@example.org") as imap:
        imap.ok("SELECT INBOX")
        assert "\\Seen" in imap.fetch(1)["flags"]
    text = transaction_log(dovecot, log.parent)
    assert [uid for uid in (1, 2, 3) if log_strays(text, uid, 0)] == [1]


def last_record(dovecot):
    """Its offset in the journal and its length."""
    text = (dovecot.state / "journal").read_bytes()
    at = text.rindex(RS)
    return at, len(text) - at


def test_other_bytes_of_the_same_length(private, receiver):
    """A power cut took the last record, which had been answered, and what
    was appended before the daemon came back ends at the same offset. Who
    trusts an offset without the record's id takes the new one for the old
    one."""
    dovecot, _, path = private()
    user = "cut@example.org"
    with dovecot.lmtp() as lmtp:
        for n in range(12):
            lmtp.deliver(MAIL, user)
        all_came(receiver, path, 12, [user])
        dovecot.stop_daemon()
        at, length = last_record(dovecot)
        for uid_now in range(13, 90):
            os.truncate(dovecot.state / "journal", at)
            lmtp.deliver(MAIL, user)
            if last_record(dovecot) == (at, length):
                break
        else:
            raise AssertionError("no record of the same length")
    dovecot.start_daemon()
    receiver.wait(lambda: uid_now in {
        uid(r) for r in receiver.answered(path) if r.type == "MessageNew"},
        what="the event in the place of the one that was cut")
    receiver.wait(lambda: [r for r in receiver.answered(path)
                           if r.type == "vnd.mailhook.Gap"], what="a Gap")


def said_of(violations):
    return "; ".join(f"[{one.rule}] {one.text}" for one in violations)


def show(text):
    print(text, flush=True)
    if "MAILHOOK_KILL_LOG" in os.environ:
        with open(os.environ["MAILHOOK_KILL_LOG"], "a") as log:
            log.write(text + "\n")


@pytest.mark.made_up_events
def test_whatever_is_killed(tmp_path):
    began = time.monotonic()
    bad = []
    with Server(SEED) as server:
        for number in range(ROUNDS):
            kinds, check = server.round(number)
            # What a killed Dovecot does to its own files is not ours.
            ours = [one for one in check.violations if one.rule != "server"]
            said = said_of(ours)
            if "MAILHOOK_KILL_LOG" in os.environ:
                show(f"round {number}: {'+'.join(kinds)}: "
                     f"{len(check.changes)} changes, {len(check.events)} "
                     f"events {said_of(check.violations)}")
            if KEEP and (said or "refused" in said_of(check.violations)):
                server.keep(number, check)
            if said:
                bad.append(f"round {number} ({', '.join(kinds)}): {said}")
                if "MAILHOOK_KILL_ALL" not in os.environ:
                    break
            if time.monotonic() - began > SECONDS:
                break
        report = server.report(number + 1, time.monotonic() - began)
        assert bad or server.oracle.figures["events"] > 20 * (number + 1)
        log = server.dovecot.log()
    show(report)
    assert not bad, f"MAILHOOK_KILL_SEED={SEED}: {report}\n" + \
        "\n".join(bad) + "\n" + "\n".join(
            line for line in log.splitlines()
            if any(word in line for word in ("Error", "Panic", "ebuild"))
            )[-3000:]
