"""What mailhook promises, as a model that can be surprised.

Clients note each Change they ask for, with its outcome as far as they were
told; the endpoint gives the events that came; IMAP shows how things are. The
oracle says where the three do not fit together:

    a  a change has neither an event nor a Resync or Gap that covers it
    b  an event tells what did not happen, or was not asked for
    c  an id, a number, a body or a floor is not what it was or must be
    d  events are in another order than what they tell
    server  the mail server itself lost or doubled something; not mailhook's

It knows Things: messages by a token that is their subject, mailboxes,
subscriptions. A thing has a state: a message's set of flags, True for what is
there, GONE for what is not. Only one client changes a thing, and after a
change whose outcome it was not told it leaves the thing alone until the next
check(). So the events of a thing must be its acknowledged changes exactly, in
order, and then the last one if IMAP shows that it happened.

Pure Python: no server, no clock. test_oracle.py feeds it wrong histories.
"""

import json
import re
from collections import Counter, defaultdict, namedtuple
from dataclasses import dataclass, field
from urllib.parse import unquote

GONE = None

# The owner is "" for a public mailbox; the name is the owner's, in UTF-8.
Place = namedtuple("Place", "owner name")
Thing = namedtuple("Thing", "kind place token")
Violation = namedtuple("Violation", "rule text")


def message(place, token):
    return Thing("message", place, token)


def mailbox(place):
    return Thing("mailbox", place, None)


def subscription(place):
    return Thing("subscription", place, None)


@dataclass
class Change:
    """One thing's next state, as a client asked for it. `issued` and
    `answered` are times of one clock; answered without `acked`: the client
    was told of a failure or lost its connection, so nobody works at it any
    more."""

    thing: Thing
    state: object
    issued: float
    answered: float = None
    acked: bool = False
    uid: int = None
    why: str = ""        # what the client was told instead


@dataclass
class Box:
    """A mailbox as IMAP shows it, or as events tell it."""

    uidvalidity: int = None
    uidnext: int = None
    tokens: dict = field(default_factory=dict)    # by UID
    flags: dict = field(default_factory=dict)     # frozenset by token
    modseqs: dict = field(default_factory=dict)   # by token, if known

    def add(self, uid, token, flags, modseq=None):
        self.tokens[uid] = token
        self.flags[token] = flags
        self.modseqs[token] = modseq

    def remove(self, uid):
        self.flags.pop(self.tokens.pop(uid), None)

    def uid(self, token):
        return next((u for u, t in self.tokens.items() if t == token), None)

    def copy(self):
        return Box(self.uidvalidity, self.uidnext, dict(self.tokens),
                   dict(self.flags))


@dataclass
class Truth:
    """What IMAP shows: every mailbox, every message, every subscription.
    `doubled`: messages that are there twice. `unclear`: mailboxes that are
    listed and cannot be opened."""

    boxes: dict = field(default_factory=dict)     # Box by Place
    subscribed: set = field(default_factory=set)  # of Place
    doubled: set = field(default_factory=set)     # of Thing
    unclear: set = field(default_factory=set)     # of Place

    def state(self, thing):
        if thing.kind == "subscription":
            return True if thing.place in self.subscribed else GONE
        box = self.boxes.get(thing.place)
        if thing.kind == "mailbox":
            return True if box is not None else GONE
        return box.flags.get(thing.token, GONE) if box else GONE

    def copy(self):
        return Truth({place: box.copy() for place, box in self.boxes.items()},
                     set(self.subscribed))


@dataclass
class Event:
    """One event as it came for the first time."""

    sequence: int
    id: str
    type: str
    data: dict
    arrived: float
    owner: str = None    # of the lane; None: nobody

    @classmethod
    def of(cls, request):
        return cls(request.sequence, request.id, request.type, request.data,
                   request.arrived, unquote(request.owner)
                   if request.owner else None)


URL = re.compile(r"imap://(?:([^@/]*)@)?[^/]*/([^;]*)"
                 r"(?:;UIDVALIDITY=(\d+))?(?:/;UID=(\d+))?")


def parse_url(url):
    """(place, uidvalidity, uid) of an IMAP URL; place None: the server's."""
    owner, name, uidvalidity, uid = URL.fullmatch(url).groups()
    place = Place(unquote(owner or ""), unquote(name)) if name else None
    return (place, int(uidvalidity) if uidvalidity else None,
            int(uid) if uid else None)


def parse_uidset(text):
    uids = []
    for part in text.split(","):
        first, _, last = part.partition(":")
        uids += range(int(first), int(last or first) + 1)
    return uids


def lane_of(place):
    """A public mailbox's lane is its namespace."""
    return place.owner or place.name.split("/")[0] + "/"


def names(data):
    return frozenset(data.get("flagNames", "").split())


FLAG_EVENTS = {
    "FlagsClear": lambda flags, data: flags - names(data),
    "FlagsSet": lambda flags, data: flags | names(data),
    "MessageRead": lambda flags, data: flags | {"\\Seen"},
    "MessageTrash": lambda flags, data: flags | {"\\Deleted"},
}
OWN = {"vnd.mailhook.Gap", "vnd.mailhook.Resync"}


class Replay:
    """A receiver that keeps its own copy of the mail store by events alone.
    apply() says which things an event gives which state; what the receiver
    cannot make sense of goes to `surprises`."""

    def __init__(self, truth):
        self.state = truth.copy()
        self.surprises = []
        self.expunged = {}    # the UID that a message had, by thing

    def apply(self, event):
        url = event.data.get("mailboxID")
        if url is None:
            return []
        place, uidvalidity, _ = parse_url(url)
        if event.type in ("MailboxSubscribe", "MailboxUnSubscribe"):
            return self._subscribe(place, event.type == "MailboxSubscribe")
        if event.type == "MailboxRename":
            old, _, _ = parse_url(event.data["oldMailboxID"])
            return self._rename(old, place)
        if event.type == "MailboxDelete":
            return self._delete(place)
        box = self.state.boxes.setdefault(place, Box(uidvalidity))
        if box.uidvalidity is None:
            box.uidvalidity = uidvalidity
        elif uidvalidity not in (None, box.uidvalidity):
            self._surprise(event, f"UIDVALIDITY was {box.uidvalidity}")
        if event.type == "MailboxCreate":
            return [(mailbox(place), True)]
        if event.type in ("MessageNew", "MessageAppend"):
            return self._append(event, place, box)
        if event.type in ("MessageExpunge", "MessageExpire"):
            return self._expunge(event, place, box)
        if event.type in FLAG_EVENTS:
            return self._flag(event, place, box)
        return []

    def _surprise(self, event, text):
        self.surprises.append((event, text))

    def _subscribe(self, place, on):
        (self.state.subscribed.add if on else
         self.state.subscribed.discard)(place)
        return [(subscription(place), True if on else GONE)]

    def _delete(self, place):
        box = self.state.boxes.pop(place, Box())
        return [(mailbox(place), GONE)] + \
            [(message(place, token), GONE) for token in box.flags]

    def _rename(self, old, new):
        box = self.state.boxes.get(old, Box())
        gone = self._delete(old)
        self.state.boxes[new] = box
        return gone + [(mailbox(new), True)] + \
            [(message(new, token), flags)
             for token, flags in box.flags.items()]

    def _append(self, event, place, box):
        _, _, uid = parse_url(event.data["uri"])
        token = event.data.get("vnd.mailhook.headers", {}).get("subject")
        if uid is None or token is None:
            self._surprise(event, "which message it is cannot be seen")
            return []
        if uid in box.tokens:
            self._surprise(event, f"UID {uid} is {box.tokens[uid]} already")
            box.remove(uid)
        box.add(uid, token, names(event.data))
        return [(message(place, token), names(event.data))]

    def _known(self, event, box):
        for uid in parse_uidset(event.data["uidset"]):
            if uid in box.tokens:
                yield uid, box.tokens[uid]
            else:
                self._surprise(event, f"UID {uid} was never announced")

    def _expunge(self, event, place, box):
        came = list(self._known(event, box))
        for uid, token in came:
            box.remove(uid)
            self.expunged[message(place, token)] = uid
        return [(message(place, token), GONE) for _, token in came]

    def _flag(self, event, place, box):
        came = []
        for _, token in self._known(event, box):
            box.flags[token] = FLAG_EVENTS[event.type](box.flags[token],
                                                       event.data)
            came.append((message(place, token), box.flags[token]))
        return came


@dataclass
class Transition:
    """A thing's state after a transaction, as its events tell it."""

    state: object
    event: Event


class Cover:
    """A Resync or Gap: what the receiver has to read again."""

    def __init__(self, event):
        self.event = event
        self.places = {parse_url(event.data[key])[0] for key in
                       ("mailboxID", "oldMailboxID") if key in event.data}

    def covers(self, thing, since):
        """In place: told after the change was asked for."""
        if self.event.arrived < since:
            return False
        if self.places:
            return thing.place in self.places
        return self.event.owner in (None, lane_of(thing.place))

    def finds(self, thing, truth):
        """Whether who reads from the state it names finds that."""
        box = truth.boxes.get(thing.place)
        if thing.kind != "message" or box is None or \
                thing.token not in box.flags:
            return True
        uidnext = self.event.data.get("uidnext", 0)
        modseq = self.event.data.get("modseq", 0)
        return box.uid(thing.token) >= uidnext or \
            (box.modseqs[thing.token] or modseq + 1) > modseq


def is_subsequence(some, of):
    """The indices in `of` that `some` takes, or None."""
    taken, at = [], 0
    for one in some:
        while at < len(of) and of[at] != one:
            at += 1
        if at == len(of):
            return None
        taken.append(at)
        at += 1
    return taken


def went_back(shown, states, asked):
    """Whether the server has lost what it had acknowledged (the last of
    `states`), rather than done some of what was asked for last and not
    acknowledged. A maildir's flags are in its files' names. Who is killed
    between the change in the index and the new name leaves that to the next
    one, who may take the old name for the newer state; a keyword's letter
    may stay without its name."""
    if shown == asked:
        return False
    if shown in states[:-1]:
        return True
    if None in (shown, states[-1], asked):
        return False
    shown, last, asked = (
        {flag for flag in one if flag.startswith("\\")}
        for one in (shown, states[-1], asked))
    return shown == last != asked


class Check:
    """One look at everything since the last one. `violations` says what does
    not fit; `uncovered` of them may go away if a Resync still comes.

    left_out(thing): not looked at, the server itself has lost its way there.
    noted(place, uid, before, after): the server's own log has this change of a
    message, whatever became of it.
    strayed(place, uid, modseq): since then the server has changed this
    message's flags by itself.
    rotated: what a process appended to a file that had just been left for the
    next one is told late, so that only each process is in order.
    """

    def __init__(self, before, changes, events, truth, gaps_expected,
                 left_out, rotated, noted, strayed):
        self.violations = []
        self.uncovered = 0
        self.resyncs_needed = 0
        self.changes, self.events, self.truth = changes, events, truth
        self.covers = [Cover(e) for e in events if e.type in OWN]
        self.before = before
        self.left_out = left_out
        self.noted = noted
        self.strayed = strayed
        self.told = []   # (sequence, change, event) of matched changes
        replay = Replay(before)
        self.transitions = self._transitions(replay)
        self.after = replay.state
        self.expunged = replay.expunged
        self._gaps(gaps_expected)
        self._surprises(replay)
        self._server()
        self._things()
        self._uids()
        self._order_in_process()
        if not rotated:
            self._order()

    def _say(self, rule, text):
        self.violations.append(Violation(rule, text))

    def _transitions(self, replay):
        """Events of one transaction are one step of a message."""
        found = defaultdict(list)
        last = {}
        for event in self.events:
            transaction = event.data.get("vnd.mailhook.transaction")
            for thing, state in replay.apply(event):
                same = event.type in FLAG_EVENTS and \
                    last.get(thing) == transaction and transaction
                if same:
                    found[thing][-1] = Transition(state, event)
                else:
                    found[thing].append(Transition(state, event))
                last[thing] = transaction if event.type in FLAG_EVENTS \
                    else None
        return found

    def _covered(self, thing, since):
        return any(cover.covers(thing, since) and
                   cover.finds(thing, self.truth) for cover in self.covers)

    def _gaps(self, expected):
        for event in self.events:
            if event.type == "vnd.mailhook.Gap" and not expected:
                self._say("a", "a Gap for nothing: " +
                          str(event.data.get("vnd.mailhook.reason")))

    def _surprises(self, replay):
        for event, text in replay.surprises:
            place, _, _ = parse_url(event.data["mailboxID"])
            if not self._covered(mailbox(place), float("-inf")) and \
                    not self.left_out(mailbox(place)):
                self._say("b", f"{event.type} {event.sequence} of {place}: "
                          + text)

    def _server(self):
        for thing in self.truth.doubled:
            if not self.left_out(thing):
                self._say("server", f"{thing} is there twice")
        for place in self.truth.unclear:
            if not self.left_out(mailbox(place)):
                self._unclear(place)

    def _unclear(self, place):
        """Killed in the middle of a DELETE: a receiver has to know."""
        self.left_out = (lambda thing, before=self.left_out:
                         thing.place == place or before(thing))
        if not self._covered(mailbox(place), float("-inf")) and not any(
                one.state is GONE
                for one in self.transitions.get(mailbox(place), ())):
            self.uncovered += 1
            self._say("a", f"{place} cannot be opened; nothing tells of it")

    # -- each thing's changes, events and state

    def _things(self):
        by_thing = defaultdict(list)
        for change in self.changes:
            by_thing[change.thing].append(change)
        for thing in self.transitions.keys() - by_thing.keys():
            for one in self.transitions[thing]:
                if not self.left_out(thing):
                    self._say("b", f"{one.event.type} {one.event.sequence}: "
                              f"nobody asked for {one.state} of {thing}")
        for thing, changes in by_thing.items():
            if not self.left_out(thing):
                self._thing(thing, changes)
        self._untouched(by_thing.keys() | self.transitions.keys())

    def _thing(self, thing, changes):
        open_ones = [c for c in changes if not c.acked]
        assert not open_ones or open_ones == changes[-1:], \
            f"the load changed {thing} after an unknown outcome"
        acked = [c for c in changes if c.acked]
        states = [self.before.state(thing)] + [c.state for c in acked]
        shown = self.truth.state(thing)
        happened = acked
        if shown != states[-1]:
            if not open_ones or went_back(shown, states, open_ones[0].state):
                self._say("server", f"{thing} is {shown}, not {states[-1]}")
            else:
                # Half of it, too: maildir may have a flag and not its name.
                happened = changes
        self._match(thing, changes, happened)

    def _match(self, thing, changes, happened):
        came = self.transitions.get(thing, [])
        wanted = [change.state for change in happened]
        taken = is_subsequence([one.state for one in came], wanted)
        if taken is None:
            self._invented(thing, changes, wanted, came)
            return
        for at, one in zip(taken, came):
            self.told.append((one.event.sequence, happened[at], one.event))
        for at, change in enumerate(happened):
            if at not in taken:
                self._missing(thing, change)

    def _invented(self, thing, changes, wanted, came):
        asked = [change.state for change in changes]
        states = [one.state for one in came]
        if states == asked and self._came_back(thing):
            self._say("server", f"{thing} was expunged and is there again")
            return
        if states == asked and self._noted(thing, changes):
            # Killed after that, while it was done to one file after the
            # other: a maildir's next process may forget the rest.
            self._say("server", f"{thing} was to become {asked[-1]}")
            return
        if self._strayed(thing):
            self._say("server", f"{thing} had other flags at times")
            return
        told = ", ".join(
            f"{one.event.type} {one.event.sequence} (pid "
            f"{one.event.data.get('pid')}, {one.event.data.get('timestamp')})"
            for one in came)
        why = "did not happen" if states == asked else \
            f"is not what was asked for ({asked})"
        self._say("b", f"{thing} became {wanted}; {told} tell {states}: "
                  "that " + why)

    def _uid(self, thing):
        uid = self.expunged.get(thing)
        for one in (self.truth, self.after, self.before):
            if uid is None and thing.place in one.boxes:
                uid = one.boxes[thing.place].uid(thing.token)
        return uid

    def _strayed(self, thing):
        box = self.before.boxes.get(thing.place, Box())
        uid = self._uid(thing)
        return thing.kind == "message" and uid is not None and self.strayed(
            thing.place, uid, box.modseqs.get(thing.token) or 0)

    def _noted(self, thing, changes):
        uid = self._uid(thing)
        states = [self.before.state(thing)] + [c.state for c in changes]
        return thing.kind == "message" and uid is not None and \
            states[-2] is not None and \
            self.noted(thing.place, uid, states[-2], states[-1])

    def _came_back(self, thing):
        """The UID that was told is gone; a maildir's file that outlived it
        is a new message for the server."""
        box = self.truth.boxes.get(thing.place)
        return thing in self.expunged and box is not None and \
            box.uid(thing.token) not in (None, self.expunged[thing])

    def _missing(self, thing, change):
        if self._covered(thing, change.issued):
            if not change.acked:
                self.resyncs_needed += 1
                return
            self._say("a", f"{thing} became {change.state}, acknowledged; "
                      "there is only a Resync")
            return
        if "ALREADYEXISTS" in change.why:
            # Another process was quicker to see the new directory: CREATE
            # made it, and says no.
            self._say("server", f"{thing} is there, though refused: "
                      f"{change.why}")
            return
        if change.state is not GONE and self._strayed(thing):
            # Then it need not have been a change.
            self._say("server", f"{thing} had other flags at times, or has")
            return
        self.uncovered += 1
        came = [(one.places or one.event.owner) for one in self.covers]
        how = "acknowledged" if change.acked else \
            f"as IMAP shows, not acknowledged ({change.why})"
        self._say("a", f"{thing} became {change.state}, {how}; "
                  f"nothing tells of it; Resyncs: {came}")

    def _untouched(self, touched):
        """What nobody asked for and no event told is as it was."""
        for place in self.truth.boxes.keys() | self.before.boxes.keys():
            things = [mailbox(place)]
            for one in (self.truth, self.before):
                box = one.boxes.get(place)
                things += [message(place, token)
                           for token in (box.flags if box else ())]
            for thing in set(things) - touched:
                if not self.left_out(thing) and \
                        self.truth.state(thing) != self.before.state(thing):
                    self._say("server", f"{thing} is "
                              f"{self.truth.state(thing)}; nobody asked")

    # -- UIDs

    def _uids(self):
        for place, box in self.truth.boxes.items():
            if self.left_out(mailbox(place)):
                continue
            told = self.after.boxes.get(place, Box())
            if None not in (told.uidvalidity, box.uidvalidity) and \
                    told.uidvalidity != box.uidvalidity:
                self._say("b", f"{place}: UIDVALIDITY {box.uidvalidity}, "
                          f"told {told.uidvalidity}")
            for uid, token in told.tokens.items():
                if box.tokens.get(uid, token) != token:
                    self._say("b", f"{place}: UID {uid} is "
                              f"{box.tokens[uid]}, told {token}")
        last = {change.thing: change for _, change, _ in self.told}
        for _, change, event in self.told:
            if event.type in ("MessageNew", "MessageAppend"):
                self._uid_of(change, event, last[change.thing] is change)

    def _uid_of(self, change, event, stayed):
        """A message may have gone and come again, under another UID."""
        place, _, uid = parse_url(event.data["uri"])
        box = self.truth.boxes.get(place)
        if change.uid not in (None, uid):
            self._say("b", f"{change.thing} got UID {change.uid}, told {uid}")
        if box is None:
            return
        if stayed and box.uid(change.thing.token) not in (None, uid):
            self._say("b", f"{change.thing} has UID "
                      f"{box.uid(change.thing.token)}, told {uid}")
        for number in (uid + 1, event.data.get("uidnext", 0)):
            if box.uidnext is not None and number > box.uidnext:
                self._say("b", f"{event.type} {event.sequence}: UIDNEXT is "
                          f"{box.uidnext}, told {number}")

    # -- order

    def _order(self):
        """Per owner: what was answered before another was asked for comes
        before it."""
        lanes = defaultdict(list)
        for sequence, change, _ in self.told:
            lanes[lane_of(change.thing.place)].append((sequence, change))
        for owner, ones in lanes.items():
            earliest = None
            for sequence, change in sorted(ones, key=lambda one: one[0],
                                           reverse=True):
                if earliest and earliest[0] != sequence and \
                        earliest[1].answered < change.issued:
                    self._say("d", f"{owner}: {sequence} is about "
                              f"{change.thing}, {earliest[0]} about "
                              f"{earliest[1].thing}, which was earlier")
                if change.answered is not None and (
                        not earliest or
                        change.answered < earliest[1].answered):
                    earliest = (sequence, change)

    def _order_in_process(self):
        """Per process and mailbox: UIDs rise."""
        last = {}
        for event in self.events:
            if event.type not in ("MessageNew", "MessageAppend"):
                continue
            place, uidvalidity, uid = parse_url(event.data["uri"])
            key = (place, uidvalidity, event.data.get("pid"))
            if uid is None:
                continue
            if uid <= last.get(key, 0):
                self._say("d", f"{place}: UID {uid} after {last[key]}")
            last[key] = uid


class Oracle:
    """check() as often as everything stands still: pass all that came since
    the last time. What IMAP showed is where the next check begins."""

    def __init__(self, truth):
        self.truth = truth
        self.figures = Counter(violations=0)
        self._strange = set()    # what the server has doubled or half deleted

    def check(self, changes, events, truth, gaps_expected=False, rebuilt=(),
              rotated=False, noted=lambda *change: False,
              strayed=lambda *message: False):
        """A Check; take it with accept() or try again with more events.
        `rebuilt`: owners whose mail the server has rebuilt, which brings back
        what was gone and tells nobody."""
        def left_out(thing):
            return thing.place.owner in rebuilt or thing in self._strange or \
                mailbox(thing.place) in self._strange

        return Check(self.truth, changes, events, truth, gaps_expected,
                     left_out, rotated, noted, strayed)

    def accept(self, check):
        self.figures["changes"] += len(check.changes)
        self.figures["acknowledged"] += sum(c.acked for c in check.changes)
        self.figures["events"] += sum(e.type not in OWN
                                      for e in check.events)
        for name in ("Resync", "Gap"):
            self.figures[name] += sum(e.type == f"vnd.mailhook.{name}"
                                      for e in check.events)
        self.figures["Resyncs needed"] += check.resyncs_needed
        for one in check.violations:
            self.figures["of the server's own" if one.rule == "server" else
                         "violations"] += 1
        self._strange |= check.truth.doubled
        self._strange |= {mailbox(place) for place in check.truth.unclear}
        self.truth = check.truth


class Numbers:
    """Ids, numbers, bodies and floors of one endpoint, request by request as
    they came; answered 2xx or not. `first` are the events in the order in
    which each was answered first.

    renumbered=True: the journal may have been found damaged, after which an
    event may come once more under another number."""

    def __init__(self, renumbered=False):
        self.renumbered = renumbered
        self.violations = []
        self.redeliveries = 0
        self.first = []
        self._seen = {}       # by id: (number, body without the number)
        self._ids = {}        # by (stream, sequence)
        self._done = defaultdict(set)
        self._floor = Counter()
        self._lanes = {}
        self._answered = set()

    def _say(self, rule, text):
        self.violations.append(Violation(rule, text))

    def feed(self, requests):
        for request in requests:
            self._one(request)

    def _one(self, request):
        event = dict(request.event)
        stream, sequence = event.pop("stream"), int(event.pop("sequence"))
        if request.headers.get("webhook-id") != event["id"]:
            self._say("c", f"webhook-id is not {event['id']}")
        if request.valid == []:
            self._say("c", f"{event['id']}: the signature is wrong")
        self._same(event, (stream, sequence))
        self._advance(stream)
        if request.floor is None or request.floor > self._floor[stream]:
            self._say("c", f"{sequence}: floor {request.floor}, but "
                      f"{self._floor[stream] + 1} was not answered")
        if 200 <= request.answered < 300:
            self._take(request, stream, sequence)

    def _same(self, event, number):
        body = json.dumps(event, sort_keys=True)
        seen = self._seen.setdefault(event["id"], (number, body))
        if seen[1] != body:
            self._say("c", f"{event['id']} has another body now")
        if seen[0] != number and not self.renumbered:
            self._say("c", f"{event['id']} is {number}, was {seen[0]}")
        owner = self._ids.setdefault(number, event["id"])
        if owner != event["id"]:
            self._say("c", f"{number} is {event['id']}, was {owner}")

    def _advance(self, stream):
        done = self._done[stream]
        while self._floor[stream] + 1 in done:
            self._floor[stream] += 1
            done.discard(self._floor[stream])

    def _take(self, request, stream, sequence):
        if sequence > self._floor[stream]:
            self._done[stream].add(sequence)
        if request.type == "vnd.mailhook.Gap":
            first, _, last = request.data.get(
                "vnd.mailhook.sequences", "").partition("-")
            if first:
                self._done[stream] |= set(
                    range(int(first), int(last or first) + 1))
        if request.id in self._answered:
            self.redeliveries += 1
            return
        self._answered.add(request.id)
        self.first.append(Event.of(request))
        if request.type not in OWN:
            lane = (stream, request.owner)
            if sequence < self._lanes.get(lane, 0):
                self._say("d", f"{request.owner}: {sequence} after "
                          f"{self._lanes[lane]}")
            self._lanes[lane] = sequence

    def contiguous(self):
        """Says which numbers are missing now that all has come."""
        for stream in list(self._done):
            self._advance(stream)
            if self._done[stream]:
                self._say("c", f"{self._floor[stream] + 1} never came, "
                          f"{min(self._done[stream])} did")
        return self.violations
