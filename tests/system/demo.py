"""The demonstration behind tests/demo."""

import signal
import sys
import threading
import time

from harness import build
from harness.clients import PASSWORD, message
from harness.dovecot import Dovecot
from harness.receiver import Receiver, new_secret

USER = "ada@example.org"
PATH = "/hooks/mail"

CONF = """\
server_name = "mail.example.org"
endpoint demo {{
    url    = "{url}"
    secret = {{"{secret}"}}
    events = {{"message", "flags", "mailbox", "subscription"}}
}}
"""


class Screen:
    """One aligned line per webhook, below the action that caused it."""

    def __init__(self):
        self.lock = threading.Lock()
        self.seen = []
        self.bad = 0

    def title(self, text):
        with self.lock:
            print(f"\n{text}", flush=True)

    def webhook(self, request):
        data = request.data
        uids = data.get("uidset") or uid_of(data.get("uri", ""))
        flags = data.get("flagNames", "")
        mailbox = data.get("vnd.mailhook.mailbox", "")
        verified = "signature verified" if request.valid \
            else "SIGNATURE WRONG"
        with self.lock:
            self.seen.append((request.type, mailbox, uids, flags))
            self.bad += not request.valid
            what = f"uid {uids}" if uids else ""
            print(f"  {request.type:<18} {mailbox:<12} {what:<9} "
                  f"{flags:<12} {verified}", flush=True)


def uid_of(uri):
    return uri.rpartition("/;UID=")[2] if "/;UID=" in uri else ""


def steps(dovecot):
    """(what is done, how, the webhooks that must come of it)"""
    imap = None

    def deliver():
        with dovecot.lmtp() as lmtp:
            lmtp.deliver(message("Lunch?", to=USER), USER)
            lmtp.deliver(message("Minutes", to=USER), USER)

    def create():
        nonlocal imap
        imap = dovecot.imap(USER)
        imap.ok("CREATE Projects")
        imap.ok("SUBSCRIBE Projects")

    def read():
        imap.ok("SELECT INBOX")
        imap.ok("FETCH 1 BODY[]")

    def flag():
        imap.ok("STORE 1:2 +FLAGS (\\Flagged)")

    def move():
        imap.ok("MOVE 2 Projects")

    def expunge():
        imap.ok("STORE 1 +FLAGS (\\Deleted)")
        imap.ok("EXPUNGE")
        imap.logout()

    return [
        ("Two messages are delivered over LMTP", deliver,
         [("MessageNew", "INBOX", "1", ""), ("MessageNew", "INBOX", "2", "")]),
        ("A mail client creates a folder and subscribes to it", create,
         [("MailboxCreate", "Projects", "", ""),
          ("MailboxSubscribe", "Projects", "", "")]),
        ("It reads the first message", read,
         [("MessageRead", "INBOX", "1", "")]),
        ("It flags both", flag,
         [("FlagsSet", "INBOX", "1:2", "\\Flagged")]),
        ("It moves the second to the folder", move,
         [("MessageAppend", "Projects", "1", "\\Flagged"),
          ("MessageExpunge", "INBOX", "2", "")]),
        ("It deletes the first for good", expunge,
         [("MessageTrash", "INBOX", "1", ""),
          ("MessageExpunge", "INBOX", "1", "")]),
    ]


def play(dovecot, screen):
    """Runs the steps; what did not come as expected, as sentences."""
    wrong = []
    for title, action, expected in steps(dovecot):
        screen.title(title)
        before = len(screen.seen)
        action()
        end = time.monotonic() + 30
        while len(screen.seen) < before + len(expected) and \
                time.monotonic() < end:
            time.sleep(0.02)
        came = screen.seen[before:]
        missing = [one for one in expected if plain(one) not in
                   [plain(other) for other in came]]
        wrong += [f"{title}: no {one[0]} of {one[1]} came" for one in missing]
        if len(came) > len(expected):
            wrong.append(f"{title}: more came than expected")
    return wrong


def plain(seen):
    """For comparing: flags that a step is not about do not matter."""
    kind, mailbox, uids, flags = seen
    return kind, mailbox, uids, flags if kind == "FlagsSet" else ""


def main():
    once = "--once" in sys.argv[1:]
    build.show_settings_module()
    screen = Screen()
    receiver = Receiver(on_request=screen.webhook)
    secret = new_secret()
    receiver.secrets[PATH] = [secret]
    dovecot = Dovecot(
        config=CONF.format(url=receiver.url(PATH), secret=secret))
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        dovecot.start()
        print(f"\nDovecot and mailhookd run on loopback; webhooks go to "
              f"{receiver.url(PATH)}")
        wrong = play(dovecot, screen)
        if screen.bad:
            wrong.append(f"{screen.bad} signatures are wrong")
        print()
        for one in wrong:
            print(f"Not as expected: {one}")
        if not wrong:
            print(f"All {len(screen.seen)} webhooks came, in order, "
                  "each with a valid signature.")
        if once:
            return 1 if wrong else 0
        stay(dovecot, screen)
        return 0
    finally:
        dovecot.remove()
        receiver.stop()


def stay(dovecot, screen):
    print(f"""
Now with your own mail client, and watch here:

  IMAP   127.0.0.1  port {dovecot.imap_port}   no encryption
  LMTP   127.0.0.1  port {dovecot.lmtp_port}   for deliveries
  user   {USER}
  pass   {PASSWORD}

Ctrl-C stops everything and removes it.""", flush=True)
    try:
        signal.pause()
    except KeyboardInterrupt:
        print()


if __name__ == "__main__":
    sys.exit(main())
