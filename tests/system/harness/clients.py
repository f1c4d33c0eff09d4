"""Mail clients as the tests use them: small wrappers that fail loudly and
know which port they come from."""

import imaplib
import poplib
import re
import smtplib
from email.message import EmailMessage

PASSWORD = "pass"


def message(subject="Hello", body="Good morning.\n", **headers):
    mail = EmailMessage()
    mail["From"] = "Sender <sender@example.net>"
    mail["To"] = headers.pop("to", "someone@example.org")
    mail["Subject"] = subject
    mail["Message-ID"] = f"<{abs(hash((subject, body)))}@example.net>"
    for name, value in headers.items():
        mail[name.replace("_", "-")] = value
    mail.set_content(body)
    return mail.as_bytes().replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")


class Imap:
    """An IMAP session. ok() and no() run one command with the tag's answer
    expected; untagged data is returned."""

    def __init__(self, port, user, host="127.0.0.1"):
        self.raw = imaplib.IMAP4(host, port)
        plain = f"\0{user}\0{PASSWORD}".encode()
        self.raw.authenticate("PLAIN", lambda _: plain)
        self.port = self.raw.sock.getsockname()[1]

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.logout()

    def logout(self):
        if self.raw.state != "LOGOUT":
            self.raw.logout()

    def command(self, line, literal=None, *more):
        """Sends `line`; returns (status, untagged lines). With literals:
        the line's end, one after each "+"."""
        tag = self.raw._new_tag()
        send = tag + b" " + line.encode("utf-8", "surrogateescape")
        if literal is not None:
            send += b" {%d}\r\n" % len(literal)
            self.raw.send(send)
            refused = self._continuation()
            if refused:
                return refused[len(tag) + 1:].decode("utf-8", "replace"), []
            parts = (literal,) + more
            while parts:
                self.raw.send(parts[0])
                if len(parts) == 1:
                    break
                # text between two literals, which opens the next one
                self.raw.send(parts[1] + b" {%d}\r\n" % len(parts[2]))
                refused = self._continuation()
                if refused:
                    return refused[len(tag) + 1:].decode(
                        "utf-8", "replace"), []
                parts = parts[2:]
            self.raw.send(b"\r\n")
        else:
            self.raw.send(send + b"\r\n")
        lines = []
        while True:
            answer = self._line()
            if answer.startswith(tag + b" "):
                status = answer[len(tag) + 1:].decode("utf-8", "replace")
                self.untagged = lines
                if re.match(rb"(?i)(un)?select|examine", line.encode()):
                    self.raw.state = "SELECTED"
                return status, lines
            lines.append(answer)

    def ok(self, line, *literals):
        status, lines = self.command(line, *literals)
        assert status.startswith("OK"), f"{line}: {status}"
        self.tagged = status
        return lines

    def no(self, line, *literals):
        status, _ = self.command(line, *literals)
        assert status.startswith(("NO", "BAD")), f"{line}: {status}"
        return status

    def append(self, mailbox, mail, flags=""):
        flags = f" ({flags})" if flags else ""
        self.ok(f'APPEND "{mailbox}"{flags}', mail)
        return self.appended()

    def appended(self):
        """(uidvalidity, uid set) of the last APPENDUID or COPYUID."""
        found = re.search(r"\[APPENDUID (\d+) (\S+)\]", self.tagged)
        return int(found[1]), found[2]

    def copied(self):
        """(uidvalidity, source uids, destination uids)"""
        text = self.tagged + b"\n".join(self.untagged).decode()
        found = re.search(r"\[COPYUID (\d+) (\S+) (\S+)\]", text)
        return int(found[1]), found[2], found[3]

    def status(self, mailbox):
        """IMAP's own view of a mailbox, to compare events with."""
        lines = self.ok(f'STATUS "{mailbox}" (MESSAGES UIDNEXT UIDVALIDITY '
                        'UNSEEN HIGHESTMODSEQ)')
        text = b"".join(lines).decode("utf-8", "replace")
        inside = text[text.rindex("(") + 1:text.rindex(")")].split()
        return {k.lower(): int(v) for k, v in zip(inside[::2], inside[1::2])}

    def fetch(self, uid):
        """size, modseq and flags of one message of the selected mailbox."""
        lines = self.ok(f"UID FETCH {uid} (RFC822.SIZE MODSEQ FLAGS)")
        text = b"".join(lines).decode()
        return {
            "size": int(re.search(r"RFC822.SIZE (\d+)", text)[1]),
            "modseq": int(re.search(r"MODSEQ \((\d+)\)", text)[1]),
            "flags": re.search(r"FLAGS \(([^)]*)\)", text)[1].split(),
        }

    def _line(self):
        """One answer line, literals included."""
        line = self.raw.readline()
        if not line:
            raise EOFError("the server closed the connection")
        line = line.rstrip(b"\r\n")
        found = re.search(rb"\{(\d+)\}$", line)
        if found:
            data = self.raw.read(int(found[1]))
            return line + b"\r\n" + data + self._line()
        return line

    def _continuation(self):
        """None, or the line that refused the literal."""
        line = self._line()
        return None if line.startswith(b"+") else line


class Pop3:
    def __init__(self, port, user):
        self.raw = poplib.POP3("127.0.0.1", port)
        self.raw.user(user)
        self.raw.pass_(PASSWORD)
        self.port = self.raw.sock.getsockname()[1]

    def quit(self):
        self.raw.quit()

    def drop(self):
        """Goes away without QUIT."""
        self.raw.close()


class Lmtp:
    def __init__(self, port):
        self.raw = smtplib.LMTP("127.0.0.1", port)
        self.port = self.raw.sock.getsockname()[1]

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.raw.quit()

    def deliver(self, mail, *recipients, sender="sender@example.net"):
        refused = self.raw.sendmail(sender, recipients, mail)
        assert not refused, refused
