"""Clients that keep a Dovecot busy and write down each change they ask for,
with what they were told about it, as the oracle wants it.

Each message and each mailbox that comes and goes belongs to one client. What
a client was not told the outcome of, it leaves alone until the next round.
"""

import imaplib
import itertools
import json
import os
import poplib
import re
import smtplib
import subprocess
import threading
import time
from contextlib import contextmanager

from .clients import Imap, Lmtp, Pop3
from .oracle import (GONE, Box, Change, Place, Truth, mailbox, message,
                     parse_uidset, subscription)

LOST = (OSError, EOFError, imaplib.IMAP4.error, smtplib.SMTPException,
        poplib.error_proto, subprocess.TimeoutExpired)
FLAGS = ["\\Seen", "\\Answered", "\\Flagged", "\\Draft", "$Junk", "work"]
# Longer than Dovecot waits for a lock that a dead process has left: who gives
# up first leaves somebody at work.
PATIENCE = 200
# At most in one round.
STEPS = 40
# More than that of one client in one mailbox, and it removes some.
ENOUGH = 10


class NotDone(OSError):
    """The server said no, or something else than was expected."""


def text_of(token, chance):
    body = "\r\n".join("x" * 70 for _ in range(chance.randrange(1, 40)))
    return (f"From: <sender@example.net>\r\nSubject: {token}\r\n"
            f"Message-ID: <{token}@example.net>\r\n\r\n{body}\r\n").encode()


class Client:
    """`paths`: how it calls the places it works at. `consumes`: the places
    where it also owns what was delivered ("l" tokens)."""

    _count = itertools.count(1)

    def __init__(self, dovecot, chance, user, paths, consumes=()):
        self.dovecot = dovecot
        self.chance = chance
        self.user = user
        self.paths = dict(paths)
        self.consumes = set(consumes)
        self.tag = f"c{next(self._count)}-"
        self._tokens = itertools.count(1)
        self.changes = []
        self.frozen = set()
        self.mine = {}       # {token: [uid, flags]} by place
        self.session = None
        self.lost = 0
        self.failure = None

    def token(self):
        return f"{self.tag}{next(self._tokens)}"

    # -- rounds

    def begin(self, truth):
        """What it owns, as it is now."""
        self.changes = []
        self.frozen = set()
        self.mine = {place: {} for place in self.paths}
        for place, box in truth.boxes.items():
            if place not in self.paths:
                continue
            for uid, token in box.tokens.items():
                if token.startswith(self.tag) or self._consumes(place, token):
                    self.mine[place][token] = [uid, box.flags[token]]

    def _consumes(self, place, token):
        return token.startswith("l") and place in self.consumes

    def start(self, until):
        self._thread = threading.Thread(target=self._run, args=(until,))
        self._thread.start()

    def join(self):
        self._thread.join()
        if self.failure:
            raise self.failure

    def _run(self, until):
        try:
            for _ in range(STEPS):
                if until.is_set():
                    break
                try:
                    self.step()
                except LOST:
                    self.lost += 1
                    self.drop()
        except BaseException as failure:  # shown by join()
            self.failure = failure

    def step(self):
        raise NotImplementedError

    def drop(self):
        self.session = None

    @contextmanager
    def asking(self, things):
        """things: {Thing: state}. Acknowledged if the body returns."""
        now = time.monotonic()
        changes = {thing: Change(thing, state, now)
                   for thing, state in things.items()}
        self.changes += changes.values()
        try:
            yield changes
        except BaseException as failure:
            for thing in things:
                changes[thing].why = repr(failure)
                self.frozen.add(thing)
                if thing.kind == "message":
                    self.mine.get(thing.place, {}).pop(thing.token, None)
            raise
        else:
            for change in changes.values():
                change.acked = True
        finally:
            for change in changes.values():
                change.answered = time.monotonic()


class ImapClient(Client):
    """`own`: it also makes, renames, subscribes and deletes mailboxes."""

    def __init__(self, *args, own=True, **more):
        super().__init__(*args, **more)
        self.own = own
        self.selected = None
        self.temporary = set()
        self.unclear = set()
        self._names = itertools.count(1)

    def begin(self, truth):
        for place in list(self.paths):
            if place.name.startswith("Tmp"):
                del self.paths[place]
        self.temporary = set()
        self.unclear |= truth.unclear
        self.subscribed = set()
        if self.own:
            for place in truth.boxes:
                if place.owner == self.user and place not in self.unclear \
                        and place.name.startswith("Tmp"):
                    self.paths[place] = place.name
                    self.temporary.add(place)
            self.subscribed = {one for one in truth.subscribed
                               if one.owner == self.user}
        super().begin(truth)
        self.selected = None

    def _consumes(self, place, token):
        return place in self.temporary or super()._consumes(place, token)

    def drop(self):
        super().drop()
        self.selected = None

    def step(self):
        if self.session is None:
            self.session = self.dovecot.imap(self.user)
            self.session.raw.sock.settimeout(PATIENCE)
        actions = [self._append] * 4 + [self._store] * 4 + \
            [self._copy, self._move, self._expunge, self._fetch]
        if self.own:
            actions += [self._manage] * 2
        self.chance.choice(actions)()

    def _ok(self, line, *literals):
        status, lines = self.session.command(line, *literals)
        if not status.startswith("OK"):
            raise NotDone(f"{line}: {status}")
        self.session.tagged = status
        return lines

    def _select(self, place):
        if self.selected != place:
            self._ok(f'SELECT "{self.paths[place]}"')
            self.selected = place

    def _place(self):
        return self.chance.choice(sorted(
            place for place in self.paths
            if mailbox(place) not in self.frozen))

    def _some(self, place, wanted=lambda flags: True):
        found = [token for token, (_, flags) in self.mine[place].items()
                 if wanted(flags)]
        self.chance.shuffle(found)
        return found[:self.chance.randrange(1, 5)]

    def _uids(self, place, tokens):
        return ",".join(str(uid) for uid in sorted(
            self.mine[place][token][0] for token in tokens))

    def _append(self):
        place = self._place()
        if len(self.mine[place]) >= ENOUGH:
            return self._expunge(place)
        token = self.token()
        flags = frozenset(self.chance.sample(FLAGS, self.chance.randrange(3)))
        with self.asking({message(place, token): flags}) as changes:
            self._ok(f'APPEND "{self.paths[place]}" '
                     f'({" ".join(sorted(flags))})',
                     text_of(token, self.chance))
            [change] = changes.values()
            change.uid = int(self.session.appended()[1])
        self.mine[place][token] = [change.uid, flags]
        if self.selected == place:
            self._ok("NOOP")
        return None

    def _store(self):
        place = self._place()
        flags = frozenset(self.chance.sample(
            FLAGS, self.chance.randrange(1, 3)))
        how, change = self.chance.choice([
            ("+FLAGS", lambda old: old | flags),
            ("-FLAGS", lambda old: old - flags),
            ("FLAGS", lambda old: flags)])
        tokens = self._some(place, lambda old: change(old) != old)
        if tokens:
            self._flag(place, tokens, how, flags, change)

    def _flag(self, place, tokens, how, flags, change):
        self._select(place)
        mine = self.mine[place]
        after = {token: change(mine[token][1]) for token in tokens}
        uids = {mine[token][0]: token for token in tokens}
        with self.asking({message(place, token): state
                          for token, state in after.items()}):
            lines = self._ok(f"UID STORE {self._uids(place, tokens)} {how} "
                             f"({' '.join(sorted(flags))})")
            shown = dict(fetched(line)[:2] for line in lines
                         if b" FETCH " in line and b"UID " in line)
            for uid, token in uids.items():
                if shown.get(uid) != after[token]:
                    raise NotDone(f"UID {uid} is {shown.get(uid)}")
        for token, state in after.items():
            mine[token][1] = state

    def _fetch(self):
        """Reading a message marks it as read."""
        place = self._place()
        tokens = self._some(place, lambda flags: "\\Seen" not in flags)
        if not tokens:
            return
        self._select(place)
        mine = self.mine[place]
        after = {token: mine[token][1] | {"\\Seen"} for token in tokens}
        with self.asking({message(place, token): state
                          for token, state in after.items()}):
            self._ok(f"UID FETCH {self._uids(place, tokens)} BODY[]")
        for token, state in after.items():
            mine[token][1] = state

    def _copy(self, move=False):
        source = self._place()
        dest = self._place()
        if source == dest or len(self.mine[dest]) >= ENOUGH:
            return
        tokens = [token for token in self._some(source)
                  if token not in self.mine[dest] and
                  message(dest, token) not in self.frozen]
        if not tokens:
            return
        self._select(source)
        mine = self.mine[source]
        things = {message(dest, token): mine[token][1] for token in tokens}
        if move:
            things.update({message(source, token): GONE for token in tokens})
        by_uid = {mine[token][0]: token for token in tokens}
        with self.asking(things) as changes:
            self._ok(f"UID {'MOVE' if move else 'COPY'} "
                     f'{self._uids(source, tokens)} "{self.paths[dest]}"')
            _, old, new = self.session.copied()
            pairs = dict(zip(parse_uidset(old), parse_uidset(new)))
            if pairs.keys() != by_uid.keys():
                raise NotDone(f"copied {old}, asked for {sorted(by_uid)}")
            for uid, token in by_uid.items():
                changes[message(dest, token)].uid = pairs[uid]
        for uid, token in by_uid.items():
            self.mine[dest][token] = [pairs[uid], mine[token][1]]
            if move:
                del mine[token]

    def _move(self):
        self._copy(move=True)

    def _expunge(self, place=None):
        place = place or self._place()
        tokens = self._some(place)
        fresh = [token for token in tokens
                 if "\\Deleted" not in self.mine[place][token][1]]
        if fresh:
            self._flag(place, fresh, "+FLAGS", {"\\Deleted"},
                       lambda old: old | {"\\Deleted"})
        if not tokens:
            return
        self._select(place)
        with self.asking({message(place, token): GONE for token in tokens}):
            self._ok(f"UID EXPUNGE {self._uids(place, tokens)}")
        for token in tokens:
            del self.mine[place][token]

    # -- mailboxes

    def _manage(self):
        quiet = [place for place in sorted(self.temporary)
                 if mailbox(place) not in self.frozen and
                 not any(thing.place == place for thing in self.frozen)]
        if len(quiet) < 2:
            return self._create()
        place = self.chance.choice(quiet)
        return self.chance.choice([self._create, self._subscribe,
                                   self._rename, self._delete])(place)

    def _create(self, _=None):
        if len(self.temporary) >= 5:
            return
        place = Place(self.user, f"Tmp-{self.tag}{next(self._names)}-"
                      f"{self.chance.randrange(1000)}")
        with self.asking({mailbox(place): True}):
            self._ok(f'CREATE "{place.name}"')
        self._made(place, {})

    def _made(self, place, messages):
        self.paths[place] = place.name
        self.temporary.add(place)
        self.mine[place] = messages

    def _forget(self, place):
        self.temporary.discard(place)
        del self.paths[place]
        return self.mine.pop(place)

    def _subscribe(self, place):
        if subscription(place) in self.frozen:
            return
        on = place not in self.subscribed
        with self.asking({subscription(place): True if on else GONE}):
            self._ok(f'{"" if on else "UN"}SUBSCRIBE "{place.name}"')
        (self.subscribed.add if on else self.subscribed.discard)(place)

    def _inside(self, place, there, state):
        return {message(there, token): state(flags)
                for token, (_, flags) in self.mine[place].items()}

    def _rename(self, place):
        new = Place(self.user, place.name + "r")
        if len(new.name) > 30:
            return
        self._leave(place)
        with self.asking({
                mailbox(place): GONE, mailbox(new): True,
                **self._inside(place, place, lambda _: GONE),
                **self._inside(place, new, lambda flags: flags)}):
            self._ok(f'RENAME "{place.name}" "{new.name}"')
        self._made(new, self._forget(place))

    def _delete(self, place):
        self._leave(place)
        with self.asking({mailbox(place): GONE,
                          **self._inside(place, place, lambda _: GONE)}):
            self._ok(f'DELETE "{place.name}"')
        self._forget(place)

    def _leave(self, place):
        if self.selected == place:
            self._ok("UNSELECT")
            self.selected = None


class LmtpClient(Client):
    """Delivers to one or more of `paths`, which are INBOXes."""

    def token(self):
        return f"l{self.tag}{next(self._tokens)}"

    def step(self):
        if self.session is None:
            self.session = Lmtp(self.dovecot.lmtp_port).raw
            self.session.sock.settimeout(PATIENCE)
            self.session.ehlo_or_helo_if_needed()
        places = self.chance.sample(sorted(self.paths),
                                    self.chance.randrange(
                                        1, min(3, len(self.paths)) + 1))
        token = self.token()
        with self.asking({message(place, token): frozenset()
                          for place in places}):
            self._deliver(token, places)

    def _deliver(self, token, places):
        lmtp = self.session
        self._expect(lmtp.mail("sender@example.net"), 250)
        for place in places:
            self._expect(lmtp.rcpt(place.owner), 250)
        self._expect(lmtp.docmd("DATA"), 354)
        lmtp.send(text_of(token, self.chance) + b".\r\n")
        for _ in places:
            self._expect(lmtp.getreply(), 250)

    @staticmethod
    def _expect(answer, code):
        if answer[0] != code:
            raise NotDone(str(answer))


class Pop3Client(Client):
    """Reads some and deletes some; nothing of it counts before QUIT."""

    def step(self):
        [place] = self.paths
        pop3 = Pop3(self.dovecot.pop3_port, self.user).raw
        pop3.sock.settimeout(PATIENCE)
        by_uid = {uid: token for token, (uid, _) in self.mine[place].items()}
        after = {}
        for line in pop3.uidl()[1]:
            number, uidl = line.decode().split()
            token = by_uid.get(int(uidl[:8], 16))
            if token is None:
                continue
            flags = self.mine[place][token][1]
            what = self.chance.random()
            if what < 0.4:
                pop3.dele(number)
                after[token] = GONE
            elif what < 0.7:
                pop3.retr(number)
                if "\\Seen" not in flags:
                    after[token] = flags | {"\\Seen"}
        with self.asking({message(place, token): state
                          for token, state in after.items()}):
            pop3.quit()
        for token, state in after.items():
            if state is GONE:
                del self.mine[place][token]
            else:
                self.mine[place][token][1] = state


class DoveadmClient(Client):
    """One command after another, each a process of its own."""

    process = None

    def step(self):
        place = self.chance.choice(sorted(self.paths))
        mine = self.mine[place]
        what = self.chance.random()
        if not mine or (what < 0.4 and len(mine) < ENOUGH):
            token = self.token()
            with self.asking({message(place, token): frozenset()}):
                self._run_one("save", place, ["-m", place.name],
                              text_of(token, self.chance))
            # Its UID is not told; it is looked at by subject.
            mine[token] = [None, frozenset()]
            return
        token = self.chance.choice(sorted(mine))
        flags = mine[token][1]
        query = ["mailbox", place.name, "header", "subject", f"{token}"]
        if what < 0.75:
            add = "\\Flagged" not in flags
            after = flags ^ {"\\Flagged"}
            with self.asking({message(place, token): after}):
                self._run_one("flags", place, ["\\Flagged", *query],
                              more=["add" if add else "remove"])
            mine[token][1] = after
        else:
            with self.asking({message(place, token): GONE}):
                self._run_one("expunge", place, query)
            del mine[token]

    def token(self):
        # Found by substring: none may begin like another.
        return f"{self.tag}{next(self._tokens):06d}"

    def _run_one(self, command, place, args, input=b"", more=()):
        self.process = subprocess.Popen(
            ["doveadm", "-c", str(self.dovecot.conf), command, *more, "-u",
             place.owner, *args], stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            env={**os.environ, **{name: str(value) for name, value in
                                  self.dovecot.environment.items()}})
        try:
            self.process.communicate(input, timeout=60)
        finally:
            self.process.wait()
        if self.process.returncode != 0:
            raise NotDone(f"doveadm {command}: {self.process.returncode}")


# -- what IMAP shows

FETCH = re.compile(rb"FLAGS \(([^)]*)\)")


def fetched(line):
    """(uid, flags, subject, modseq) of an untagged FETCH."""
    uid = int(re.search(rb"[( ]UID (\d+)", line)[1])
    flags = frozenset(FETCH.search(line)[1].decode().split()) - {"\\Recent"}
    subject = re.search(rb"Subject: (\S+)", line)
    modseq = re.search(rb"MODSEQ \((\d+)\)", line)
    return (uid, flags, subject[1].decode() if subject else None,
            int(modseq[1]) if modseq else None)


def names_of(lines):
    for line in lines:
        found = re.match(rb'\* L(?:IST|SUB) \(([^)]*)\) \S+ "?([^"]*)"?$',
                         line)
        if found and b"\\noselect" not in found[1].lower():
            yield found[2].decode()


def look(dovecot, users, public=()):
    """The Truth about these users' own mailboxes, and public ones."""
    truth = Truth()
    for user in users:
        with dovecot.imap(user) as imap:
            for name in names_of(imap.ok('LIST "" "*"')):
                if name.startswith(("shared/", "Public")):
                    continue
                _look_at(imap, truth, Place(user, name), name)
            truth.subscribed |= {Place(user, name) for name in
                                 names_of(imap.ok('LSUB "" "*"'))}
            while public:
                name, *public = public
                _look_at(imap, truth, Place("", name), name)
    return truth


def _look_at(imap, truth, place, name):
    # Not EXAMINE: that leaves undone what a dead session had expunged.
    status, lines = imap.command(f'SELECT "{name}"')
    if "deleted under us" in status:
        # Killed within DELETE. Dovecot takes that back after half a minute.
        truth.unclear.add(place)
        return
    assert status.startswith("OK"), f"{place}: {status}"
    text = b"\n".join(lines)
    box = Box(int(re.search(rb"\[UIDVALIDITY (\d+)\]", text)[1]),
              int(re.search(rb"\[UIDNEXT (\d+)\]", text)[1]))
    if int(re.search(rb"(\d+) EXISTS", text)[1]):
        for line in imap.ok("UID FETCH 1:* (UID FLAGS MODSEQ BODY.PEEK["
                            "HEADER.FIELDS (SUBJECT)])"):
            if b" FETCH " not in line or b"Subject" not in line:
                continue
            uid, flags, token, modseq = fetched(line)
            if token in box.flags:
                truth.doubled.add(message(place, token))
            box.add(uid, token, flags, modseq)
    # A message that came up by this very look counts, too.
    box.uidnext = max([box.uidnext] + [uid + 1 for uid in box.tokens])
    truth.boxes[place] = box


# -- what stands in Dovecot's transaction log

BITS = {"\\Answered": 1, "\\Flagged": 2, "\\Deleted": 4, "\\Seen": 8,
        "\\Draft": 16}


def _has(uids, uid):
    return any(int(first) <= uid <= int(last or first) for first, last in
               re.findall(r"(\d+)(?:-(\d+))?", uids))


def log_notes(text, uid, before, after):
    """Whether `doveadm dump` of a log has this change of a message as asked
    for: what is marked "(ext)" is what was done, or found in the files. Of
    flags, some are enough, each as it was asked for last."""
    last, kind = {}, ""
    for line in text.splitlines():
        found = re.match(r"record: .* type=([^,]*),", line)
        if found:
            kind = found[1]
        elif kind.startswith("expunge") and not kind.endswith("(ext)"):
            if re.match(rf" - uid={uid}\b", line):
                last[None] = True
        elif kind == "flag-update":
            uids, plus, minus = re.match(
                r" - uids=(\S+) \(flags \+(\w+)-(\w+)", line).groups()
            for flag, bit in BITS.items() if _has(uids, uid) else ():
                if (int(plus, 16) | int(minus, 16)) & bit:
                    last[flag] = bool(int(plus, 16) & bit)
        elif kind == "keyword-update":
            modify, name, uids = re.match(
                r" - modify=(\d), name=(.*), uids=(\S*)", line).groups()
            if _has(uids, uid):
                last[name] = modify != "1"
    if after is GONE:
        return None in last
    return any(last.get(flag) == (flag in after)
               for flag in set(before) ^ set(after))


def log_strays(text, uid, modseq):
    """Whether flags of a message were found to be others, after that."""
    kind, at = "", 0
    for line in text.splitlines():
        found = re.match(r"record: .* type=([^,]*),.*?(?:modseq=(\d+))?$", line)
        if found:
            kind, at = found[1], int(found[2] or 0)
        elif kind == "flag-update (ext)" and at > modseq and \
                _has(re.match(r" - uids=(\S+)", line)[1], uid):
            return True
    return False


# -- what stands in the journal

class JournalFollower:
    """The ids of all records for endpoints, whatever file they are in; each
    file is kept open, so that one that goes away is read to its end."""

    def __init__(self, directory):
        self.directory = directory
        self.ids = set()
        self._files = {}   # [file, offset, rest] by inode

    def read(self):
        """How many new ids."""
        for path in self.directory.glob("journal*"):
            try:
                file = open(path, "rb")
            except FileNotFoundError:
                continue
            inode = os.fstat(file.fileno()).st_ino
            if inode in self._files:
                file.close()
            else:
                self._files[inode] = [file, b""]
        before = len(self.ids)
        for one in self._files.values():
            self._read_file(one)
        return len(self.ids) - before

    def _read_file(self, one):
        *whole, one[1] = (one[1] + one[0].read()).split(b"\n")
        for line in whole:
            line = line.rpartition(b"\x1e")[2]
            try:
                record = json.loads(line) if len(line) < 100000 else {}
            except ValueError:
                continue
            kind = record.get("type", "")
            if kind and kind != "vnd.mailhook.journal" and \
                    not kind.startswith("vnd.mailhook.fact"):
                self.ids.add(record["id"])

    def close(self):
        for file, _ in self._files.values():
            file.close()
