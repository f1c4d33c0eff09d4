"""How requests travel: TLS, HTTP/2, proxy, addresses, and every way in which
a receiver can fail. Each endpoint is one of the shared server's."""

import os
import re
import shutil
import socket
import ssl
import tempfile
import time
from pathlib import Path

import pytest

from harness.certificates import Authority
from harness.clients import message
from harness.dovecot import free_ports
from harness.receiver import Receiver
from harness.servers import Deaf, Http2, Misbehaving, Proxy
from test_delivery import endpoint, uid  # noqa: F401 (a fixture)
from test_recovery import wait_for

MAIL = message()


@pytest.fixture(scope="module")
def top():
    """A directory that the daemon may enter, unlike pytest's."""
    one = Path(tempfile.mkdtemp(prefix="mailhook-"))
    one.chmod(0o755)
    yield one
    shutil.rmtree(one)


@pytest.fixture(scope="module")
def authority(top):
    return Authority(top / "ours")


@pytest.fixture(scope="module")
def stranger(top):
    return Authority(top / "other", name="Other CA")


@pytest.fixture
def stop():
    """stop(server): it is stopped at the end."""
    servers = []

    def remember(server):
        servers.append(server)
        return server

    yield remember
    for one in servers:
        one.stop()


def status(mail):
    [one] = [one for one in mail.dovecot.ask("status")["endpoints"]
             if one["name"] == mail.endpoint]
    return one


def failure(mail):
    """Delivers, waits for the failure and returns (outcome, words)."""
    mail.deliver(MAIL)
    one = wait_for(lambda: (lambda s: s["failed"] and s)(status(mail)),
                   "a failed attempt")
    assert one["answered"] == 0
    return one["last_outcome"], one["last_error"]


def private_file(dovecot, path, text):
    """As an administrator writes it: whole, for Dovecot's user alone."""
    new = path.with_suffix(".new")
    new.write_text(text)
    owner = dovecot.mailhook_conf.stat()
    os.chown(new, owner.st_uid, owner.st_gid)
    new.chmod(0o600)
    new.rename(path)
    return path


FAILURES = {
    # kind: (outcome, our words)
    "resolve": ("dns", "name cannot be resolved"),
    "refused": ("refused", "refused or unreachable"),
    "deaf": ("connect-timeout", "no connection within connect_timeout"),
    "hangs": ("timeout", "no answer within timeout"),
    "drips_headers": ("timeout", "did not come to its end within timeout"),
    "resets": ("reset", "reset the connection"),
    "closes": ("broken", "closed the connection without an answer"),
    "talks_garbage": ("broken", "the answer is no HTTP"),
    "breaks_off": ("broken", "broke before the answer was complete"),
    "floods_headers": ("broken", "headers are too long"),
    "not TLS": ("tls", "TLS cannot be agreed on"),
    "unknown CA": ("tls", "from a CA that is not known here"),
    "own CA unknown": ("tls", "from a CA that is not known here"),
    "wrong host": ("tls", "is for another host"),
    "expired": ("tls", "has expired"),
    "no client certificate": ("tls", "refused the TLS connection"),
    "proxy refuses": ("proxy", "does not let the request through"),
    "denied": ("denied", "127.0.0.1 is not a permitted address"),
    "not allowed": ("denied", "127.0.0.1 is not a permitted address"),
}


def make_failing(kind, authority, stranger, stop):
    """(url, keys, what must not have got a request)"""
    ca = {"ca_file": f'"{authority.file}"'}
    tls = {"wrong host": {"hosts": "DNS:other.example"},
           "expired": {"expired": True}}
    if kind == "resolve":
        return "http://nowhere.invalid/", {}, None
    if kind == "refused":
        return f"http://127.0.0.1:{free_ports(1)[0]}/", {}, None
    if kind == "deaf":
        return f"http://127.0.0.1:{stop(Deaf()).port}/", {}, None
    if kind == "proxy refuses":
        proxy = stop(Proxy("403 Forbidden"))
        server = stop(Receiver(tls=authority.server("proxied")))
        return server.url("/x"), {
            **ca, "proxy": f'"http://127.0.0.1:{proxy.port}"'}, server
    if kind in ("denied", "not allowed"):
        server = stop(Receiver())
        return server.url("/x"), (
            {"deny_networks": '{"127.0.0.0/8"}'} if kind == "denied" else
            {"allow_networks": '{"10.0.0.0/8", "::/64"}'}), server
    if kind == "not TLS":
        server = stop(Receiver())
        return server.url("/x").replace("http:", "https:"), ca, server
    if kind in Misbehaving.__dict__:
        return f"http://127.0.0.1:{stop(Misbehaving(kind)).port}/", {}, None
    if kind == "no client certificate":
        tls = authority.server("strict", require_client=authority)
        # In TLS 1.3 its refusal races with the request.
        tls.maximum_version = ssl.TLSVersion.TLSv1_2
        server = stop(Receiver(tls=tls))
        return server.url("/x"), ca, server
    if kind == "own CA unknown":
        ca = {"ca_file": f'"{stranger.file}"'}
    server = stop(Receiver(tls=authority.server(
        kind.replace(" ", "-"), **tls.get(kind, {}))))
    return server.url("/x"), {} if kind == "unknown CA" else ca, server


@pytest.mark.parametrize("kind", FAILURES)
def test_each_failure_is_told_apart(endpoint, authority, stranger, stop,
                                    kind):
    url, keys, server = make_failing(kind, authority, stranger, stop)
    # Short only where one of them is what is to be seen.
    _, [mail] = endpoint(
        url=url, retry_first='"1m"', retry_max='"1m"',
        timeout='"1500ms"' if kind in ("hangs", "drips_headers") else '"30s"',
        connect_timeout='"300ms"' if kind == "deaf" else '"20s"', **keys)
    outcome, words = failure(mail)
    assert outcome == FAILURES[kind][0], words
    assert FAILURES[kind][1] in words
    # The same in the log, and in what people read.
    [line] = wait_for(lambda: [
        line for line in mail.dovecot.log().splitlines()
        if f"endpoint {mail.endpoint}: MessageNew" in line], "its log line")
    assert f"failed ({outcome}): {words}" in line
    shown = mail.dovecot.ctl("status").stdout
    assert f"{outcome}: {words}" in shown
    tested = mail.dovecot.ask("test", endpoint=mail.endpoint)
    assert tested["outcome"] == outcome and FAILURES[kind][1] in tested["text"]
    if server is not None:
        assert server.requests == []


def test_the_failures_differ_in_words():
    ours = [words for kind, (_, words) in FAILURES.items()
            if kind not in ("own CA unknown", "not allowed")]
    assert len(ours) == len(set(ours))


@pytest.mark.parametrize("how", ["drips_body", "floods_body",
                                 "body_breaks_off"])
def test_an_answer_is_its_status_whatever_its_body(endpoint, stop, how):
    server = stop(Misbehaving(how))
    _, [mail] = endpoint(url=f"http://127.0.0.1:{server.port}/",
                         timeout='"1500ms"')
    mail.deliver(MAIL)
    wait_for(lambda: status(mail)["answered"] == 1, "the answer")
    assert status(mail)["failed"] == 0
    mail.deliver(MAIL)
    wait_for(lambda: status(mail)["answered"] == 2, "the second answer")
    assert sum(one.count(b"POST / ") for one in server.received) == 2


def through_tls(endpoint, receiver, server, **keys):
    """An endpoint of its own on that server: (path, mail)."""
    path, [mail] = endpoint(url=server.url("/tls"), **keys)
    server.secrets["/tls"] = receiver.secrets[path]
    return mail


def test_tls_with_a_ca_of_ones_own(endpoint, receiver, authority, stop):
    server = stop(Receiver(tls=authority.server("good")))
    mail = through_tls(endpoint, receiver, server,
                       ca_file=f'"{authority.file}"')
    for _ in range(3):
        mail.deliver(MAIL)
    server.wait(lambda: len(server.answered("/tls")) == 3)
    assert all(r.valid for r in server.requests)
    assert status(mail)["failed"] == 0
    # One owner, one after the other: one connection.
    assert len({r.connection for r in server.requests}) == 1


@pytest.mark.parametrize("separate", [True, False])
def test_a_client_certificate(endpoint, receiver, authority, stop, dovecot,
                              separate):
    server = stop(Receiver(tls=authority.server(
        "strict2", require_client=authority)))
    certificate, key = authority.issue("client", hosts="DNS:mail.example.org")
    top = dovecot.mailhook_conf.parent
    if separate:
        keys = {"cert_file": f'"{certificate}"', "key_file":
                f'"{private_file(dovecot, top / "k.pem", key.read_text())}"'}
    else:
        both = private_file(dovecot, top / "both.pem",
                            certificate.read_text() + key.read_text())
        keys = {"cert_file": f'"{both}"'}
    mail = through_tls(endpoint, receiver, server,
                       ca_file=f'"{authority.file}"', **keys)
    mail.deliver(MAIL)
    server.wait(lambda: len(server.answered("/tls")) == 1)


def test_a_key_that_does_not_belong_is_refused(configuration, authority):
    dovecot = configuration.dovecot
    certificate, _ = authority.issue("one")
    _, key = authority.issue("two")
    key = private_file(dovecot, dovecot.mailhook_conf.parent / "two.pem",
                       key.read_text())
    configuration.add("bad", cert_file=f'"{certificate}"',
                      key_file=f'"{key}"')
    configuration.write()
    answer = dovecot.ask("reload")
    assert not answer["ok"]
    assert "does not belong to the certificate" in answer["error"]
    key.chmod(0o640)
    answer = dovecot.ask("reload")
    assert "can be read by its group" in answer["error"]


def test_a_changed_ca_file_counts_at_once(endpoint, receiver, authority,
                                          stranger, stop, dovecot):
    """No request rides on a connection that was made under the old one."""
    server = stop(Receiver(tls=authority.server("changing")))
    path = dovecot.mailhook_conf.parent / "changing-ca.pem"
    private_file(dovecot, path, authority.file.read_text())
    mail = through_tls(endpoint, receiver, server, ca_file=f'"{path}"')
    mail.deliver(MAIL)
    server.wait(lambda: len(server.answered("/tls")) == 1)
    private_file(dovecot, path, stranger.file.read_text())
    # Looked at once a second, when there is something to do.
    time.sleep(1.1)
    assert failure_after(mail) == "tls"
    assert len(server.requests) == 1
    private_file(dovecot, path, authority.file.read_text())
    time.sleep(1.1)
    server.wait(lambda: len(server.answered("/tls")) == 2)


def failure_after(mail):
    mail.deliver(MAIL)
    return wait_for(lambda: (lambda s: s["failed"] and s["last_outcome"])(
        status(mail)), "a failed attempt")


def test_http2_carries_many_requests_on_one_connection(
        endpoint, receiver, authority, stop):
    server = stop(Http2(authority.server("h2"), together=6))
    _, mails = endpoint(6, url=f"https://127.0.0.1:{server.port}/h2",
                        ca_file=f'"{authority.file}"', timeout='"60s"')
    with mails[0].dovecot.lmtp() as lmtp:
        for mail in mails:
            lmtp.deliver(MAIL, mail.user)
    wait_for(lambda: len(server.requests) == 6, "six requests at once")
    assert server.protocols == ["h2"]
    assert server.most == {0: 6}
    for _, headers, body in server.requests:
        assert headers[":method"] == "POST" and headers[":path"] == "/h2"
        assert headers["webhook-id"].encode() in body
        assert headers["webhook-signature"].startswith("v1,")
    assert len({h["webhook-id"] for _, h, _ in server.requests}) == 6


def test_ipv6(endpoint, receiver, stop):
    server = stop(Receiver(address="::1"))
    mail = through_tls(endpoint, receiver, server,
                       allow_networks='{"::1"}')
    assert "[::1]" in status(mail)["url"]
    mail.deliver(MAIL)
    server.wait(lambda: len(server.answered("/tls")) == 1)
    assert server.requests[0].valid


def test_a_name_with_a_denied_address_goes_to_the_other(
        endpoint, receiver, stop):
    """localhost is ::1 and 127.0.0.1."""
    server = stop(Receiver())
    path, [mail] = endpoint(
        url=f"http://localhost:{server.port}/tls", deny_networks='{"::1"}')
    mail.deliver(MAIL)
    server.wait(lambda: len(server.answered("/tls")) == 1)


def test_nobody_elses_connection_gets_around_the_guard(
        endpoint, receiver, stop):
    server = stop(Receiver())
    _, [free] = endpoint(url=server.url("/free"))
    _, [bound] = endpoint(url=server.url("/bound"),
                          deny_networks='{"127.0.0.1"}')
    for _ in range(3):
        free.deliver(MAIL)
        bound.deliver(MAIL)
        free.deliver(MAIL)
    server.wait(lambda: len(server.answered("/free")) == 6)
    wait_for(lambda: status(bound)["failed"] > 2, "failed attempts")
    assert status(bound)["last_outcome"] == "denied"
    assert server.on("/bound") == []


def test_headers_and_a_token_of_ones_own(endpoint, receiver, dovecot):
    token = private_file(dovecot, dovecot.mailhook_conf.parent / "token",
                         "first-token\n")
    path, [mail] = endpoint(
        bearer_file=f'"{token}"',
        headers='{"X-Api-Key: very secret", "X-Team: mail"}')
    mail.deliver(MAIL)
    [event] = mail.take()
    assert event.headers["authorization"] == "Bearer first-token"
    assert event.headers["x-api-key"] == "very secret"
    assert event.headers["x-team"] == "mail"
    # mailhookctl shows that they are there, not what they are.
    shown = dovecot.ctl("test", mail.endpoint).stdout
    assert "X-Api-Key: (hidden)" in shown and "(hidden)" in shown
    assert "very secret" not in shown and "first-token" not in shown
    # Changed, it is read again; nobody has to say so.
    private_file(dovecot, token, "second-token")
    time.sleep(1.1)
    mail.deliver(MAIL)
    event = mail.take()[-1]
    assert event.headers["authorization"] == "Bearer second-token"
    # What is no token, or can be read by others, is said; the last stays.
    private_file(dovecot, token, "Bearer third")
    time.sleep(1.1)
    mail.deliver(MAIL)
    event = mail.take()[-1]
    assert event.headers["authorization"] == "Bearer second-token"
    wait_for(lambda: "bearer_file" in dovecot.log(), "the complaint")
    assert "third" not in dovecot.log()


def test_a_changed_secret_file_signs_at_once(endpoint, receiver, dovecot,
                                             configuration):
    path, [mail] = endpoint(secrets=2)
    old, new = receiver.secrets[path]
    file = private_file(dovecot, dovecot.mailhook_conf.parent / "secrets",
                        f"{old}\n")
    keys = configuration.endpoints[mail.endpoint]
    del keys["secret"]
    keys["secret_file"] = f'"{file}"'
    configuration.apply()
    mail.deliver(MAIL)
    assert mail.take()[-1].valid == [old]
    private_file(dovecot, file, f"{old}\n{new}\n")
    time.sleep(1.1)
    mail.deliver(MAIL)
    assert mail.take()[-1].valid == [old, new]
    file.chmod(0o644)
    time.sleep(1.1)
    mail.deliver(MAIL)
    assert mail.take()[-1].valid == [old, new]
    wait_for(lambda: re.search(
        r"endpoint \S+: secret_file .* can be read by its group",
        dovecot.log()), "the complaint")
    private_file(dovecot, file, f"{new}\n")
    time.sleep(1.1)
    mail.deliver(MAIL)
    assert mail.take()[-1].valid == [new]


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_through_a_proxy(endpoint, receiver, authority, stop, dovecot,
                         scheme):
    proxy = stop(Proxy())
    token = private_file(dovecot, dovecot.mailhook_conf.parent / "t2", "tok")
    server = stop(Receiver(tls=authority.server("behind"))) \
        if scheme == "https" else receiver
    mail = through_tls(endpoint, receiver, server,
                       ca_file=f'"{authority.file}"',
                       bearer_file=f'"{token}"',
                       proxy=f'"http://127.0.0.1:{proxy.port}"')
    seen = len(server.on("/tls"))
    mail.deliver(MAIL)
    server.wait(lambda: len(server.answered("/tls")) == seen + 1)
    request = server.on("/tls")[-1]
    assert request.valid
    assert request.headers["authorization"] == "Bearer tok"
    [head] = proxy.heads
    if scheme == "https":
        # It sees where to, and nothing else.
        assert head.startswith(f"CONNECT 127.0.0.1:{server.port} ")
        assert "webhook" not in head and "tok" not in head.lower()
    else:
        assert head.startswith("POST http://127.0.0.1:")


def test_rate_is_a_limit(endpoint, receiver):
    path, mails = endpoint(4, rate=10)
    with mails[0].dovecot.lmtp() as lmtp:
        for _ in range(5):
            for mail in mails:
                lmtp.deliver(MAIL, mail.user)
    receiver.wait(lambda: len(receiver.answered(path)) >= 20)
    arrived = [r.arrived for r in receiver.on(path)]
    # A lower bound: twenty at ten a second, the first at once.
    assert arrived[-1] - arrived[0] >= 1.8
    assert all(b - a >= 0.85 for a, b in zip(arrived, arrived[10:]))


def test_no_descriptor_would_be_inherited(private, receiver, authority, stop):
    """Whatever libcurl, libevent and SQLite open: a child gets none of it."""
    server = stop(Receiver(tls=authority.server("fds")))
    dovecot, configuration, path = private(endpoint={
        "url": server.url("/fds"), "ca_file": f'"{authority.file}"'})
    configuration.add("named", url=f"http://localhost:{receiver.port}/named")
    configuration.apply()
    with socket.socket(socket.AF_UNIX) as control:
        control.connect(str(dovecot.control))
        with dovecot.lmtp() as lmtp:
            lmtp.deliver(MAIL, "someone@example.org")
        server.wait(lambda: server.answered("/fds"))
        receiver.wait(lambda: receiver.answered("/named"))
        top = f"/proc/{dovecot.daemon_process.pid}"
        seen = 0
        for fd in os.listdir(f"{top}/fd"):
            if int(fd) <= 2:
                continue
            with open(f"{top}/fdinfo/{fd}", encoding="ascii") as info:
                flags = re.search(r"flags:\s+(\d+)", info.read())[1]
            assert int(flags, 8) & os.O_CLOEXEC, \
                os.readlink(f"{top}/fd/{fd}")
            seen += 1
        assert seen > 8
