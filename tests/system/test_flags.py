"""Flags and keywords: one event per transaction for each identical set."""

import pytest

from harness.clients import message
from harness.expect import settled

MAIL = message()


@pytest.fixture
def box(mail):
    """An IMAP session on an INBOX with four messages."""
    with mail.imap() as imap:
        for _ in range(4):
            imap.valid, _ = imap.append("INBOX", MAIL)
        imap.ok("SELECT INBOX")
        imap.guid = mail.dovecot.mailbox_guid(mail.user, "INBOX")
        mail.take()
        yield imap


def event(mail, box, kind, uidset, flags=None, cause="store", **fields):
    """One message's event has its modseq; several messages' has none."""
    if uidset.isdigit():
        fields.setdefault("modseq", box.fetch(uidset)["modseq"])
    return mail.mailbox_event(
        kind, "INBOX", box.valid, box.guid, client=box, uidset=uidset,
        flagNames=flags, uidnext=5, messages=4, _cause=cause, **fields)


@pytest.mark.parametrize("flag, kind, names", [
    ("\\Seen", "MessageRead", None),
    ("\\Deleted", "MessageTrash", None),
    ("\\Flagged", "FlagsSet", "\\Flagged"),
    ("\\Answered", "FlagsSet", "\\Answered"),
    ("\\Draft", "FlagsSet", "\\Draft"),
    ("$Label", "FlagsSet", "$Label"),
])
def test_store(mail, box, flag, kind, names):
    box.ok(f"STORE 2 +FLAGS ({flag})")
    mail.expect(event(mail, box, kind, "2", names))
    # The same again changes nothing.
    box.ok(f"STORE 2 +FLAGS ({flag})")
    mail.expect()
    box.ok(f"STORE 2 -FLAGS ({flag})")
    mail.expect(event(mail, box, "FlagsClear", "2", flag))
    box.ok(f"STORE 2 -FLAGS ({flag})")
    mail.expect()


def test_store_of_several_messages_is_one_event(mail, box):
    box.ok("UID STORE 1,3:4 +FLAGS (\\Seen)")
    mail.expect(event(mail, box, "MessageRead", "1,3:4"))


def test_only_what_changed_is_named(mail, box):
    box.ok("STORE 1 +FLAGS (\\Seen)")
    mail.take()
    box.ok("STORE 1:4 +FLAGS (\\Seen)")
    mail.expect(event(mail, box, "MessageRead", "2:4"))


def test_several_flags_at_once_come_in_order(mail, box):
    box.ok("STORE 1 +FLAGS (\\Flagged $Work \\Seen \\Deleted)")
    trash, read, flags = mail.take()
    assert [r.type for r in (trash, read, flags)] == \
        ["MessageTrash", "MessageRead", "FlagsSet"]
    assert sorted(flags.data["flagNames"].split()) == ["$Work", "\\Flagged"]
    assert all(r.data["uidset"] == "1" for r in (trash, read, flags))


def test_replace_clears_and_sets(mail, box):
    box.ok("STORE 1 FLAGS (\\Flagged $Old)")
    mail.take()
    box.ok("STORE 1 FLAGS (\\Answered \\Seen $New)")
    clear, read, flags = mail.take()
    assert (clear.type, read.type, flags.type) == \
        ("FlagsClear", "MessageRead", "FlagsSet")
    assert sorted(clear.data["flagNames"].split()) == ["$Old", "\\Flagged"]
    assert sorted(flags.data["flagNames"].split()) == ["$New", "\\Answered"]


def test_replace_with_the_same_is_silent(mail, box):
    box.ok("STORE 1 FLAGS (\\Flagged $Label)")
    mail.take()
    box.ok("STORE 1 FLAGS ($Label \\Flagged)")
    mail.expect()


def test_different_changes_are_different_events(mail, box):
    """A replace touches each message from where it was: one event for each
    identical set of flags."""
    box.ok("STORE 1:2 +FLAGS (\\Flagged)")
    box.ok("STORE 3 +FLAGS (\\Answered)")
    mail.take()
    box.ok("STORE 1:4 FLAGS (\\Draft)")
    events = mail.take()
    cleared = {r.data["uidset"]: r.data["flagNames"]
               for r in events if r.type == "FlagsClear"}
    assert cleared == {"1:2": "\\Flagged", "3": "\\Answered"}
    [drafts] = [r for r in events if r.type == "FlagsSet"]
    assert (drafts.data["uidset"], drafts.data["flagNames"]) == \
        ("1:4", "\\Draft")
    assert len(events) == 3
    assert events[-1] is drafts


def test_more_lists_of_keywords_than_are_kept_at_once(mail, box):
    """Twenty messages with a keyword of their own, twenty that have one of
    two by turns: one event for each list, in whatever order they are met."""
    for number in range(20):
        box.append("INBOX", MAIL, f"$Own{number}")
        box.append("INBOX", MAIL, f"$Turn{number % 2}")
    mail.take()
    box.ok("UID STORE 5:44 FLAGS ()")
    cleared = {r.data["flagNames"]: r.data["uidset"] for r in mail.take()
               if r.type == "FlagsClear"}
    assert cleared == {
        **{f"$Own{n}": str(5 + 2 * n) for n in range(20)},
        "$Turn0": ",".join(str(uid) for uid in range(6, 46, 4)),
        "$Turn1": ",".join(str(uid) for uid in range(8, 46, 4))}


def test_fetch_of_a_body_is_message_read(mail, box):
    box.ok("UID FETCH 2 (BODY[])")
    mail.expect(event(mail, box, "MessageRead", "2", cause="fetch"))
    box.ok("UID FETCH 2 (BODY[])")
    mail.expect()


def test_peek_is_silent(mail, box):
    box.ok("UID FETCH 1:4 (BODY.PEEK[] ENVELOPE FLAGS)")
    mail.expect()


def test_conditional_store_that_fails_is_silent(mail, box):
    box.ok("STORE 1 +FLAGS (\\Flagged)")
    mail.take()
    box.command("STORE 1 (UNCHANGEDSINCE 1) +FLAGS (\\Answered)")
    mail.expect()


def test_silent_store_is_not_silent_to_webhooks(mail, box):
    box.ok("STORE 3 +FLAGS.SILENT (\\Flagged)")
    mail.expect(event(mail, box, "FlagsSet", "3", "\\Flagged"))


def test_recent_is_never_named(mail):
    mail.deliver(MAIL)
    with mail.imap() as imap:
        imap.ok("SELECT INBOX")
        imap.ok("STORE 1 +FLAGS (\\Flagged)")
        imap.ok("STORE 1 FLAGS ()")
        events = mail.take()
    assert [r.type for r in events] == \
        ["MessageNew", "FlagsSet", "FlagsClear"]
    assert not any("Recent" in r.data.get("flagNames", "") for r in events)


def test_flag_events_full(private):
    """flag_events = "full": FlagsSet instead of MessageRead, MessageTrash."""
    from harness.expect import Mail
    dovecot, configuration, path = private(daemon="service", start=False)
    configuration.settings["flag_events"] = '"full"'
    configuration.write()
    dovecot.start()
    mail = Mail(dovecot, configuration.receiver, path, "full@example.org")
    with mail.imap() as imap:
        imap.append("INBOX", MAIL)
        imap.ok("SELECT INBOX")
        mail.take()
        imap.ok("STORE 1 +FLAGS (\\Seen \\Deleted)")
        [one] = mail.take()
        imap.ok("STORE 1 -FLAGS (\\Seen \\Deleted)")
        [cleared] = mail.take()
        imap.ok("FETCH 1 BODY[]")
        [fetched] = mail.take()
    assert one.type == "FlagsSet"
    assert sorted(settled(one)["flagNames"].split()) == \
        ["\\Deleted", "\\Seen"]
    assert cleared.type == "FlagsClear"
    assert (fetched.type, settled(fetched)["flagNames"],
            settled(fetched)["vnd.mailhook.cause"]) == \
        ("FlagsSet", "\\Seen", "fetch")
