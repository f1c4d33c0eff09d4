"""Delivery: order, retries, answers, signatures, numbers, filters. Each test
has an endpoint of its own on the shared server."""

import itertools
import random
import time
from email.utils import formatdate

import pytest

from conftest import fresh_user
from harness.clients import message
from harness.expect import Mail, encode_user
from harness.receiver import Answer

QUICK = {"retry_first": '"50ms"', "retry_max": '"200ms"'}
MAIL = message()
_endpoint = itertools.count(1)


@pytest.fixture
def endpoint(configuration, receiver):
    """endpoint(count, **keys): a new endpoint that wants the events of
    `count` fresh users; returns (path, [Mail])."""

    def make(count=1, **keys):
        users = [fresh_user("lane") for _ in range(count)]
        # Never one that was used before: a removed endpoint's cursor is
        # kept, and the log is searched for the name.
        name = f"ep{next(_endpoint)}"
        listed = "{" + ", ".join(f'"{user}"' for user in users) + "}"
        path = configuration.add(name, users=listed, **{**QUICK, **keys})
        configuration.apply()
        one = [Mail(configuration.dovecot, receiver, path, user)
               for user in users]
        for mail in one:
            mail.endpoint = name
        return path, one

    yield make
    for path in receiver._scripts:
        receiver.script(path)
    receiver.release()


def uid(request):
    return int(request.data["uri"].rpartition("=")[2])


def in_order(requests):
    """First occurrences of each id by owner: uids must only rise."""
    last, seen = {}, set()
    for request in requests:
        if request.type != "MessageNew" or request.id in seen:
            continue
        seen.add(request.id)
        assert uid(request) == last.get(request.owner, 0) + 1, \
            f"{request.owner}: uid {uid(request)} after {last}"
        last[request.owner] = uid(request)
    return last


def deliver_round(mails, count):
    with mails[0].dovecot.lmtp() as lmtp:
        for _ in range(count):
            for mail in mails:
                lmtp.deliver(MAIL, mail.user)


def test_each_owner_in_order_one_at_a_time(endpoint, receiver):
    path, mails = endpoint(4)
    out = {}

    def choose(request):
        # Called under the receiver's lock, when a request arrives.
        unanswered = [r for r in out.get(request.owner, ())
                      if not r.answered]
        assert_later.append(not unanswered)
        out.setdefault(request.owner, []).append(request)
        return Answer(delay=random.choice((0.001, 0.01, 0.03)))

    assert_later = []
    receiver.script(path, choose=choose)
    deliver_round(mails, 15)
    receiver.wait(lambda: len(receiver.answered(path)) >= 60)
    assert set(in_order(receiver.on(path)).values()) == {15}
    assert all(assert_later), "two requests of one owner were out at once"


def test_a_failing_owner_holds_back_only_itself(endpoint, receiver):
    path, (bad, *good) = endpoint(4)
    broken = True
    receiver.script(path, choose=lambda request: Answer(500) if broken and
                    request.owner == encode_user(bad.user) else None)
    deliver_round([bad, *good], 5)
    receiver.wait(lambda: len(receiver.answered(path)) >= 15)
    assert {r.owner for r in receiver.answered(path)} == \
        {encode_user(mail.user) for mail in good}
    # Only the first of the failing owner was ever tried.
    tried = [r for r in receiver.on(path)
             if r.owner == encode_user(bad.user)]
    assert {uid(r) for r in tried} == {1}
    broken = False
    receiver.wait(lambda: len(receiver.answered(path)) >= 20)
    assert set(in_order(receiver.answered(path)).values()) == {5}


def test_without_order_a_failing_event_holds_back_nothing(
        endpoint, receiver):
    path, [mail] = endpoint(order='"none"')
    broken = True
    receiver.script(path, choose=lambda request: Answer(500) if broken and
                    request.type == "MessageNew" and uid(request) == 3
                    else None)
    deliver_round([mail], 12)
    receiver.wait(lambda: len(receiver.answered(path)) >= 11)
    # Of one owner, and the third is tried by itself.
    receiver.wait(lambda: len(receiver.on(path)) >= 14)
    answered = receiver.answered(path)
    assert sorted(map(uid, answered)) == [1, 2, *range(4, 13)]
    [third] = {r.sequence for r in receiver.on(path) if uid(r) == 3}
    assert max(r.floor for r in receiver.on(path)) < third
    broken = False
    receiver.wait(lambda: len(receiver.answered(path)) >= 12)
    mail.mark()
    assert sorted(uid(r) for r in receiver.answered(path)
                  if r.type == "MessageNew") == list(range(1, 13))
    assert receiver.on(path)[-1].floor >= third


def test_without_order_one_owner_fills_the_connections(endpoint, receiver):
    path, [mail] = endpoint(order='"none"', concurrency=4)
    receiver.script(path, *[Answer(hang=True)] * 4)
    deliver_round([mail], 6)
    receiver.wait(lambda: len(receiver.on(path)) >= 4)
    assert {uid(r) for r in receiver.on(path)} == {1, 2, 3, 4}
    receiver.release()
    receiver.wait(lambda: len(receiver.answered(path)) >= 6)
    assert {uid(r) for r in receiver.answered(path)} == set(range(1, 7))


@pytest.mark.parametrize("failure", [
    Answer(500), Answer(404), Answer(302, {"Location": "/elsewhere"}),
    Answer(307, {"Location": "/elsewhere"}), Answer(503),
    Answer(close=True)],
    ids=["500", "404", "302", "307", "503", "close"])
def test_a_refused_event_is_retried_as_it_was(endpoint, receiver, failure):
    path, [mail] = endpoint(timeout='"60s"')
    receiver.script(path, failure, failure)
    mail.deliver(MAIL)
    [_] = mail.take()
    first, second, third, marker = receiver.on(path)
    assert first.id == second.id == third.id != marker.id
    assert first.body == second.body == third.body
    assert third.answered == 204
    # Nobody was sent there.
    assert not receiver.on("/elsewhere")


def test_a_hanging_request_times_out_and_is_retried(endpoint, receiver):
    path, [mail] = endpoint(timeout='"300ms"')
    receiver.script(path, Answer(hang=True))
    mail.deliver(MAIL)
    mail.take()
    assert receiver.on(path)[0].id == receiver.on(path)[1].id


@pytest.mark.parametrize("form", ["seconds", "date"])
@pytest.mark.parametrize("status", [429, 503])
def test_retry_after_holds_the_endpoint(endpoint, receiver, status, form):
    path, (mail, other) = endpoint(2)
    after = "2" if form == "seconds" else \
        formatdate(time.time() + 3, usegmt=True)
    receiver.script(path, Answer(status, {"Retry-After": after}))
    mail.deliver(MAIL)
    receiver.wait(lambda: receiver.on(path))
    other.deliver(MAIL)
    receiver.wait(lambda: len(receiver.answered(path)) >= 2)
    first, *rest = receiver.on(path)
    assert len(rest) == 2
    # A lower bound: what was asked for, less the date's full second.
    assert all(r.arrived - first.arrived >= 1.9 for r in rest)


def test_410_disables_until_resumed(endpoint, receiver, configuration):
    path, [mail] = endpoint()
    receiver.script(path, Answer(410))
    mail.deliver(MAIL)
    receiver.wait(lambda: receiver.on(path))
    mail.deliver(MAIL)
    everything = Mail(mail.dovecot, receiver, "/all", mail.user)
    everything.take()  # the other endpoint had both

    def state():
        [one] = [one for one in mail.dovecot.ask("status")["endpoints"]
                 if one["name"] == mail.endpoint]
        return one["state"], one["in_flight"]

    # The answer may still be on its way.
    while state()[1] > 0:
        time.sleep(0.05)
    assert state() == ("disabled", 0)
    assert len(receiver.on(path)) == 1
    assert mail.dovecot.ask("resume", endpoint=mail.endpoint)["ok"]
    mail.take()
    assert in_order(receiver.answered(path)) == {encode_user(mail.user): 2}
    # Also when only a test is answered so.
    receiver.script(path, Answer(410))
    tested = mail.dovecot.ctl("test", mail.endpoint, check=False)
    assert tested.returncode == 1
    assert "disabled until resumed" in tested.stdout
    assert state() == ("disabled", 0)
    assert mail.dovecot.ask("resume", endpoint=mail.endpoint)["ok"]


def test_a_hanging_endpoint_delays_no_mail_and_no_other_endpoint(
        endpoint, receiver):
    path, [mail] = endpoint(timeout='"10m"')
    receiver.script(path, default=Answer(hang=True))
    everything = Mail(mail.dovecot, receiver, "/all", mail.user)
    deliver_round([mail], 20)
    with mail.imap() as imap:
        imap.ok("SELECT INBOX")
        imap.ok("STORE 1:20 +FLAGS (\\Seen)")
        # All of it done and told elsewhere, before the first answer here.
        assert [r.type for r in everything.take()] == \
            ["MessageNew"] * 20 + ["MessageRead"]
    assert not receiver.answered(path)
    receiver.script(path)
    receiver.release()
    # The other endpoint's marker is one of them.
    assert [r.type for r in mail.take()] == \
        ["MessageNew"] * 20 + ["MessageRead", "MailboxSubscribe"]
    in_order(receiver.answered(path))


def test_rotation_signs_with_every_secret(endpoint, receiver, configuration):
    path, [mail] = endpoint(secrets=2)
    mail.deliver(MAIL)
    [event] = mail.take()
    assert event.valid == receiver.secrets[path]
    assert len(event.headers["webhook-signature"].split(" ")) == 2
    # The older one leaves.
    old, new = receiver.secrets[path]
    configuration.endpoints[mail.endpoint]["secret"] = f'{{"{new}"}}'
    configuration.apply()
    mail.deliver(MAIL)
    [event] = mail.take()
    assert event.valid == [new]
    assert len(event.headers["webhook-signature"].split(" ")) == 1


def test_numbers_have_no_holes_and_the_floor_tells_the_truth(
        endpoint, receiver):
    path, mails = endpoint(3)
    chance = random.Random(5423)
    receiver.script(path, choose=lambda r: Answer(
        500 if chance.random() < 0.2 else 204))
    deliver_round(mails, 20)
    receiver.wait(lambda: len({r.id for r in receiver.answered(path)}) >= 60)
    requests = receiver.on(path)
    assert len({r.event["stream"] for r in requests}) == 1
    numbers = {r.sequence for r in requests}
    assert numbers == set(range(min(numbers), min(numbers) + 60))
    assert len({(r.id, r.sequence) for r in requests}) == 60
    answered = set(range(min(numbers)))
    for request in requests:
        assert set(range(request.floor + 1)) <= answered
        if request.answered == 204:
            answered.add(request.sequence)
    assert max(r.floor for r in requests) >= min(numbers)


def test_only_what_is_subscribed_comes(endpoint, receiver):
    path, [mail] = endpoint(
        events='{"message", "!MessageExpunge", "MailboxSubscribe"}')
    mail.deliver(MAIL)
    with mail.imap() as imap:
        imap.ok("CREATE Box")
        imap.ok("SELECT INBOX")
        imap.ok("STORE 1 +FLAGS (\\Seen \\Deleted)")
        imap.ok("EXPUNGE")
        imap.append("Box", MAIL)
        assert [r.type for r in mail.take()] == \
            ["MessageNew", "MessageAppend"]


def test_groups(configuration, receiver):
    """One session, seen by an endpoint for each group and by those that
    exclude one."""
    groups = {
        "message": ["MessageNew", "MessageExpunge"],
        "flags": ["MessageRead", "MessageTrash", "FlagsSet"],
        "mailbox": ["MailboxCreate"],
        "subscription": ["MailboxSubscribe"],
        "access": ["Login", "Logout"],
    }
    paths = {}
    for name in groups:
        paths[name] = configuration.add(name, events=f'{{"{name}"}}')
        paths["!" + name] = configuration.add(
            f"not-{name}", events=f'{{"!{name}"}}')
    configuration.apply()
    mail = Mail(configuration.dovecot, receiver, paths["!access"],
                fresh_user())
    mail.deliver(MAIL)
    with mail.imap() as imap:
        imap.ok("CREATE Box")
        imap.ok("SUBSCRIBE Box")
        imap.ok("SELECT INBOX")
        imap.ok("STORE 1 +FLAGS (\\Seen \\Flagged \\Deleted)")
        imap.ok("EXPUNGE")
    everything = {kind for kinds in groups.values() for kind in kinds}
    for name, path in paths.items():
        one = Mail(mail.dovecot, receiver, path, mail.user)
        wanted = set(groups[name]) if name in groups else \
            everything - set(groups[name[1:]])
        # Not take(): where there are no subscriptions, no marker comes.
        receiver.wait(lambda: {r.type for r in one.requests()} >= wanted,
                      what=f"{wanted} for {name}")
        assert {r.type for r in one.requests()} == wanted, name


def test_only_the_wanted_mailboxes_come(endpoint, receiver):
    path, [mail] = endpoint(mailboxes='{"Work*", "!Work/Old", "marker*"}')
    with mail.imap() as imap:
        for name in ("Work", "Work/Old", "Other"):
            imap.ok(f"CREATE {name}")
        # A rename matches by either name.
        imap.ok("RENAME Other Worktop")
        imap.ok("RENAME Worktop Elsewhere")
        assert [(r.type, r.data["vnd.mailhook.mailbox"])
                for r in mail.take()] == [
            ("MailboxCreate", "Work"), ("MailboxRename", "Worktop"),
            ("MailboxRename", "Elsewhere")]


def test_other_users_do_not_come(endpoint, receiver):
    path, [mail] = endpoint()
    stranger = Mail(mail.dovecot, receiver, "/all", fresh_user())
    stranger.deliver(MAIL)
    stranger.take()
    mail.deliver(MAIL)
    assert len(mail.take()) == 1
    assert {r.owner for r in receiver.on(path)} == {encode_user(mail.user)}


def test_what_is_given_up_is_announced(endpoint, receiver, configuration):
    path, (bad, good) = endpoint(2, give_up='"400ms"')
    receiver.script(path, choose=lambda request: Answer(500) if
                    request.owner == encode_user(bad.user) and
                    request.type == "MessageNew" else None)
    bad.deliver(MAIL)

    def gap():
        return [r for r in receiver.answered(path)
                if r.type == "vnd.mailhook.Gap"]

    # It dies only while its endpoint takes others.
    for _ in range(300):
        good.deliver(MAIL)
        if gap():
            break
        time.sleep(0.1)
    [one] = gap()
    dead = next(r for r in receiver.on(path)
                if r.owner == encode_user(bad.user) and
                r.type == "MessageNew")
    assert one.data["vnd.mailhook.sequences"] == str(dead.sequence)
    assert one.data["vnd.mailhook.lost"] == 1
    assert one.data["vnd.mailhook.reason"]
    assert dead.id in str(bad.dovecot.ask("dead", endpoint=bad.endpoint))
    # The lane goes on behind it.
    bad.mark()
    good.mark()
    last = receiver.on(path)[-1]
    assert last.floor >= dead.sequence


def test_a_removed_endpoint_gets_no_more(endpoint, receiver, configuration):
    path, [mail] = endpoint()
    mail.deliver(MAIL)
    mail.take()
    count = len(receiver.on(path))
    kept = configuration.endpoints.pop(mail.endpoint)
    configuration.apply()
    mail.deliver(MAIL)
    Mail(mail.dovecot, receiver, "/all", mail.user).take()
    assert len(receiver.on(path)) == count
    # Its cursor was kept: back again, it goes on where it stood.
    configuration.endpoints[mail.endpoint] = kept
    configuration.apply()
    mail.take()
    assert in_order(receiver.answered(path)) == {encode_user(mail.user): 2}


def test_a_new_endpoint_starts_at_the_end(endpoint, receiver, configuration,
                                          mail):
    mail.deliver(MAIL)
    mail.take()
    path = configuration.add("late", users=f'{{"{mail.user}"}}')
    configuration.apply()
    late = Mail(mail.dovecot, receiver, path, mail.user)
    mail.deliver(MAIL)
    [event] = late.take()
    assert uid(event) == 2
    assert event.sequence == 1
