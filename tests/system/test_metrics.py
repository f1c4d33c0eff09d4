"""What is served on `metrics`: OpenMetrics that Prometheus takes, a status
page that a browser shows, and a listener that bears with anybody."""

import http.client
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import time
import urllib.request
from html.parser import HTMLParser
from urllib.parse import urlsplit

import pytest

from harness import build, openmetrics
from harness.browser import Browser, program
from harness.clients import message
from harness.dovecot import free_ports
from harness.receiver import Answer

ALERTS = build.SOURCE / "conf.d" / "mailhook-alerts.yml"
USER = "someone-private@example.org"


def address(port, host="127.0.0.1"):
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def get(port, path="/metrics", host="127.0.0.1", accept=None, method="GET"):
    """(status, headers, body)"""
    connection = http.client.HTTPConnection(host, port, timeout=60)
    try:
        connection.request(method, path,
                           headers={"Accept": accept} if accept else {})
        answer = connection.getresponse()
        return answer.status, answer.headers, answer.read().decode()
    finally:
        connection.close()


def metrics(port):
    status, headers, text = get(port)
    assert status == 200
    assert headers["Content-Type"] == \
        "application/openmetrics-text; version=1.0.0; charset=utf-8"
    return openmetrics.parse(text)


def deliver(dovecot, user=USER, count=1):
    with dovecot.lmtp() as lmtp:
        for _ in range(count):
            lmtp.deliver(message("A subject nobody else may read"), user)


def until(condition, what, timeout=60):
    end = time.monotonic() + timeout
    while True:
        value = condition()
        if value:
            return value
        assert time.monotonic() < end, f"{what} did not come"
        time.sleep(0.1)


@pytest.fixture
def served(private):
    """A maker: (Dovecot, Configuration, path, port), not started."""
    def make(**options):
        [port] = free_ports(1)
        dovecot, configuration, path = private(start=False, **options)
        configuration.settings["metrics"] = f'"{address(port)}"'
        configuration.write()
        return dovecot, configuration, path, port
    return make


def started(made):
    dovecot = made[0]
    dovecot.start_daemon()
    dovecot.start()
    return made


@pytest.fixture(scope="module")
def seen(receiver):
    """One server for the tests that only look: an endpoint that delivers,
    one that refuses a user until it gives up, one that is paused."""
    from conftest import Configuration
    from harness.dovecot import Dovecot
    [port] = free_ports(1)
    configuration = Configuration(receiver)
    configuration.settings.update(metrics=f'"{address(port)}"')
    good = configuration.add("portal")
    bad = configuration.add("billing", retry_first='"20ms"',
                            retry_max='"50ms"', give_up='"200ms"')
    configuration.add("archive")
    receiver.script(bad, choose=lambda r: Answer(
        422 if r.type == "MessageNew" and "private" in r.owner else 204))
    with Dovecot(daemon="foreground") as dovecot:
        configuration.dovecot = dovecot
        configuration.write()
        dovecot.start_daemon()
        assert dovecot.ask("pause", endpoint="archive")["ok"]
        # Others are accepted, or it would be an outage.
        deliver(dovecot, count=2)
        for n in range(3):
            deliver(dovecot, f"other{n}@example.org", 3)
        until(lambda: openmetrics.value(
            metrics(port), "mailhook_endpoint_dead_letters",
            endpoint="billing", reason="client_error") == 2,
            "the dead letters")
        receiver.wait(lambda: len(receiver.answered(good)) == 11)
        yield dovecot, configuration, port


def test_figures_are_what_happened(seen, receiver):
    dovecot, configuration, port = seen
    found = metrics(port)

    def one(name, **labels):
        return openmetrics.value(found, "mailhook_" + name, **labels)

    assert one("build_info", version=dovecot.ask("status")["version"]) == 1
    assert abs(one("start_time_seconds") - time.time()) < 3600
    assert one("lag_warning_seconds") == 900
    portal = {"endpoint": "portal"}
    assert one("endpoint_deliveries_total", outcome="success", **portal) == 11
    assert one("endpoint_delivery_duration_seconds_count", **portal) == 11
    for outcome in ("client_error", "timeout", "dns", "local"):
        assert one("endpoint_deliveries_total", outcome=outcome,
                   **portal) == 0
    assert one("endpoint_state", state="ok", **portal) == 1
    assert one("endpoint_state", state="paused", **portal) == 0
    assert one("endpoint_lag_seconds", **portal) == 0
    assert one("endpoint_in_flight_requests", **portal) == 0
    assert one("endpoint_unread_bytes", **portal) == 0
    assert abs(one("endpoint_last_success_timestamp_seconds", **portal) -
               time.time()) < 3600
    billing = {"endpoint": "billing"}
    path = urlsplit(configuration.endpoints["billing"]["url"].strip('"')).path
    refused = [r for r in receiver.on(path) if r.answered == 422]
    assert len(refused) >= 4
    assert one("endpoint_deliveries_total", outcome="client_error",
               **billing) == len(refused)
    assert one("endpoint_given_up_events_total", how="dead", **billing) == 2
    assert one("endpoint_given_up_events_total", how="dropped",
               **billing) == 0
    archive = {"endpoint": "archive"}
    assert one("endpoint_state", state="paused", **archive) == 1
    # Paused, it reads nothing, so nobody knows what is there for it.
    assert one("endpoint_unread_bytes", **archive) > 11 * 300
    assert one("endpoint_unanswered_events", **archive) == 0
    assert one("endpoint_lag_seconds", **archive) == 0
    assert one("lost_events_total") == 0
    assert one("journal_files") == 1
    assert one("journal_bytes") == (dovecot.state / "journal").stat().st_size
    assert one("journal_limit_bytes") == 1 << 30
    assert one("ledger_commits_total") > 0
    assert one("ledger_commit_failures_total") == 0
    assert one("derive_unread_bytes") == 0


def test_nothing_of_anybody_is_on_it(seen, receiver):
    dovecot, configuration, port = seen
    ids = {r.id for r in receiver.requests}
    urls = [keys["url"].strip('"')
            for keys in configuration.endpoints.values()]
    for path in ("/", "/metrics"):
        _, _, text = get(port, path)
        for word in ("private", "INBOX", "imap:", "http:", "whsec",
                     "subject", str(dovecot.top), str(receiver.port),
                     *urls, *[url.rpartition("/")[2] for url in urls]):
            assert word not in text, (path, word)
        assert not [one for one in ids if one in text]


def test_old_scrapers_get_the_old_format(seen):
    port = seen[2]
    status, headers, text = get(port, accept="text/plain;version=0.0.4")
    assert status == 200
    assert headers["Content-Type"] == \
        "text/plain; version=0.0.4; charset=utf-8"
    assert "# EOF" not in text
    assert "\n# TYPE mailhook_lost_events_total counter\n" in text
    # Prometheus names both and prefers the new one.
    _, headers, _ = get(port, accept="application/openmetrics-text;"
                        "version=1.0.0;q=0.5,text/plain;version=0.0.4;q=0.4")
    assert headers["Content-Type"].startswith("application/openmetrics-text")


def tool(name):
    found = shutil.which(name)
    if not found:
        pytest.skip(f"{name} is not installed (Debian: apt-get install "
                    "prometheus), so it cannot check the metrics")
    return found


def test_promtool_likes_names_and_help(seen):
    promtool = tool("promtool")
    _, _, text = get(seen[2], accept="text/plain")
    done = subprocess.run([promtool, "check", "metrics"], input=text,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          text=True, timeout=120)
    assert (done.returncode, done.stdout) == (0, "")


def test_promtool_tests_the_alert_rules(tmp_path):
    promtool = tool("promtool")
    rules = (build.SOURCE / "tests" / "system" / "alerts-test.yml") \
        .read_text().replace("RULES", str(ALERTS))
    (tmp_path / "test.yml").write_text(rules)
    for command in (["check", "rules", ALERTS],
                    ["test", "rules", tmp_path / "test.yml"]):
        done = subprocess.run([promtool, *command], stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, text=True,
                              timeout=120)
        assert done.returncode == 0, done.stdout
        assert "SUCCESS" in done.stdout


def test_the_alert_rules_name_metrics_that_exist(seen):
    _, _, text = get(seen[2], accept="text/plain")
    there = set(re.findall(r"^(mailhook_\w+)", text, re.M))
    named = set(re.findall(r"\bmailhook_\w+", ALERTS.read_text()))
    assert named and named <= there
    documented = set(re.findall(
        r"`(mailhook_\w+)`",
        (build.SOURCE / "doc" / "monitoring.md").read_text()))
    of_families = {re.sub("_(bucket|sum|count)$", "", name)
                   if "duration" in name else name for name in there}
    assert documented == of_families


@pytest.fixture
def prometheus(seen, tmp_path):
    """A real Prometheus that scrapes the daemon and loads the rules."""
    program = tool("prometheus")
    [port] = free_ports(1)
    (tmp_path / "prometheus.yml").write_text(json.dumps({
        "global": {"scrape_interval": "200ms", "scrape_timeout": "200ms",
                   "evaluation_interval": "200ms"},
        "rule_files": [str(ALERTS)],
        "scrape_configs": [{
            "job_name": "mailhook",
            "static_configs": [{"targets": [address(seen[2])]}]}]}))
    log = open(tmp_path / "log", "wb")
    process = subprocess.Popen(
        [program, f"--config.file={tmp_path / 'prometheus.yml'}",
         f"--storage.tsdb.path={tmp_path / 'data'}",
         f"--web.listen-address=127.0.0.1:{port}"],
        stdin=subprocess.DEVNULL, stdout=log, stderr=log)

    def query(path):
        try:
            with urllib.request.urlopen(
                    f"http://127.0.0.1:{port}/api/v1/{path}",
                    timeout=30) as answer:
                return json.load(answer)["data"]
        except OSError:
            assert process.poll() is None, (tmp_path / "log").read_text()
            return None

    yield query
    process.send_signal(signal.SIGTERM)
    process.wait(60)


def test_a_real_prometheus_scrapes_it(seen, prometheus):
    """As OpenMetrics, which its own parser is strict about, and the alerts
    are evaluated without an error."""
    target = until(lambda: [
        t for t in (prometheus("targets") or {}).get("activeTargets", [])
        if t["health"] != "unknown"], "a scrape")[0]
    assert (target["health"], target["lastError"]) == ("up", "")
    samples = until(lambda: (prometheus(
        "query?query=mailhook_endpoint_deliveries_total"
        "%7Boutcome=%22success%22,endpoint=%22portal%22%7D") or
        {}).get("result"), "the samples")
    assert samples[0]["value"][1] == "11"
    # Evaluated with the samples there, as the paused endpoint shows.
    [group] = until(lambda: [
        g for g in (prometheus("rules") or {}).get("groups", [])
        if all(r["health"] != "unknown" for r in g["rules"]) and
        any(r["state"] != "inactive" for r in g["rules"])], "the rules")
    assert [(r["name"], r.get("lastError")) for r in group["rules"]
            if r["health"] != "ok"] == []
    # By now nothing but what is true: one endpoint is paused, and that is
    # only pending for a day.
    assert {r["name"]: r["state"] for r in group["rules"]
            if r["state"] != "inactive"} == {
                "MailhookEndpointPaused": "pending"}


# -- counters and the daemon's life

def test_dead_letters_by_reason_outlive_the_daemon(served, receiver):
    dovecot, configuration, path, port = started(served(endpoint={
        "retry_first": '"20ms"', "retry_max": '"50ms"',
        "give_up": '"200ms"'}))
    status = {"refused": 404, "broken": 500, "closed": 0}

    def choose(request):
        for word, code in status.items():
            if request.type == "MessageNew" and word in request.owner:
                return Answer(code, close=code == 0)
        return None

    receiver.script(path, choose=choose)

    def dead():
        found = metrics(port)
        return {reason: openmetrics.value(
            found, "mailhook_endpoint_dead_letters", endpoint="only",
            reason=reason) for reason in
            ("redirect", "client_error", "server_error", "no_answer")}

    def deaths(want):
        """Something accepted in between keeps the breaker closed."""
        for n in range(600):
            if dead() == want:
                return
            deliver(dovecot, f"good{n % 7}@example.org")
            time.sleep(0.05)
        raise AssertionError(dead())

    for word in status:
        deliver(dovecot, f"{word}@example.org")
    want = {"redirect": 0, "client_error": 1, "server_error": 1,
            "no_answer": 1}
    deaths(want)

    dovecot.stop_daemon(signal.SIGKILL)
    dovecot.start_daemon()
    assert dead() == want

    # One is answered after all, one is forgotten.
    status.pop("refused")
    rows = {r["last_status"]: r["id"] for r in dovecot.ask(
        "dead", endpoint="only")["rows"]}
    assert dovecot.ask("retry", endpoint="only", id=rows[404])["ok"]
    assert dovecot.ask("drop", endpoint="only", id=rows[500])["ok"]
    until(lambda: dead() == {**want, "client_error": 0, "server_error": 0},
          "fewer dead letters")


def test_counters_outlive_a_reload(served, receiver):
    dovecot, configuration, path, port = started(served())
    deliver(dovecot, count=3)
    receiver.wait(lambda: len(receiver.answered(path)) == 3)

    def success(name="only"):
        return openmetrics.value(
            metrics(port), "mailhook_endpoint_deliveries_total",
            endpoint=name, outcome="success")

    until(lambda: success() == 3, "three deliveries")
    configuration.endpoints["only"]["timeout"] = '"9s"'
    configuration.endpoints["only"]["users"] = '{"*"}'
    configuration.add("new")
    configuration.apply()
    deliver(dovecot)
    until(lambda: success() == 4 and success("new") == 1, "one more")
    del configuration.endpoints["new"]
    configuration.apply()
    until(lambda: "new" not in get(port)[2], "the end of an endpoint")
    assert success() == 4


def test_lag_is_said_once(served, receiver):
    dovecot, configuration, path, port = served()
    configuration.settings["lag_warning"] = '"1s"'
    configuration.write()
    started((dovecot,))
    receiver.script(path, default=Answer(hang=True))
    deliver(dovecot)

    def lagging():
        return openmetrics.value(metrics(port), "mailhook_endpoint_lagging",
                                 endpoint="only")

    until(lagging, "a lag")
    assert openmetrics.value(metrics(port), "mailhook_endpoint_lag_seconds",
                             endpoint="only") > 1
    checked = dovecot.ctl("check", check=False)
    assert checked.returncode == 1
    assert re.search(r"problem +endpoint only: ok, \d+ s behind, more than "
                     r"lag_warning \(1 s\)", checked.stdout)
    assert "behind</span>" in get(port, "/")[2]
    until(lambda: "more than lag_warning" in dovecot.log(), "a line")
    receiver.script(path, default=Answer(204))
    receiver.release()
    until(lambda: not lagging(), "the end of the lag")
    # It looks when it wakes; asking wakes it.
    until(lambda: not lagging() and
          "within lag_warning again" in dovecot.log(), "a line")
    assert dovecot.log().count("more than lag_warning") == 1
    assert dovecot.log().count("within lag_warning again") == 1
    assert dovecot.ctl("check", check=False).returncode == 0


# -- the listener

def test_off_means_off(private):
    dovecot, configuration, _ = private()
    assert configuration.settings["metrics"] == '""'
    inodes = set(re.findall(r"socket:\[(\d+)\]", " ".join(
        os.readlink(f"/proc/{dovecot.daemon_process.pid}/fd/{fd}")
        for fd in os.listdir(f"/proc/{dovecot.daemon_process.pid}/fd"))))
    for table in ("tcp", "tcp6"):
        rows = open(f"/proc/net/{table}", encoding="ascii").readlines()[1:]
        assert not [row for row in rows
                    if row.split()[3] == "0A" and row.split()[9] in inodes]
    assert re.search("ok +metrics are off", dovecot.ctl("check").stdout)


def test_a_taken_port_harms_nothing_else(served, receiver):
    dovecot, configuration, path, port = served()
    with socket.create_server(("127.0.0.1", port)):
        started((dovecot,))
        deliver(dovecot)
        receiver.wait(lambda: receiver.answered(path))
        checked = dovecot.ctl("check", check=False)
        assert checked.returncode == 1
        assert f"problem  metrics: {address(port)} cannot be had (Address " \
            "already in use); write another port, or end what uses it" \
            in checked.stdout
        # It is tried again, and not said again.
        time.sleep(6)
        deliver(dovecot)
        receiver.wait(lambda: len(receiver.answered(path)) == 2)
        assert dovecot.log().count("cannot be had") == 1

    def serves():
        deliver(dovecot)
        try:
            return metrics(port)
        except OSError:
            return None

    until(serves, "the listener")
    until(lambda: f"{address(port)} is served now" in dovecot.log(),
          "a line")
    assert re.search(f"ok +metrics and status page at http://"
                     f"{address(port)}/", dovecot.ctl("check").stdout)


def test_a_reload_moves_the_listener(served):
    dovecot, configuration, _, port = started(served())
    metrics(port)
    [other] = free_ports(1)
    configuration.settings["metrics"] = f'"{address(other, "::1")}"'
    configuration.apply()
    openmetrics.parse(get(other, host="::1")[2])
    with pytest.raises(OSError):
        get(port)
    configuration.settings["metrics"] = '""'
    configuration.apply()
    with pytest.raises(OSError):
        get(other, host="::1")


@pytest.mark.parametrize("method, path, status", [
    ("GET", "/metrics", 200), ("GET", "/", 200), ("HEAD", "/", 200),
    ("HEAD", "/metrics", 200), ("GET", "/metrics?x=1", 200),
    ("GET", "/metrics/", 404), ("GET", "/favicon.ico", 404),
    ("GET", "/../etc/passwd", 404), ("POST", "/metrics", 405),
    ("PUT", "/", 405), ("DELETE", "/", 405), ("OPTIONS", "/", 405)])
def test_read_only(seen, method, path, status):
    got, headers, body = get(seen[2], path, method=method)
    assert got == status
    assert headers["Connection"] == "close"
    assert headers["Cache-Control"] == "no-store"
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Content-Security-Policy"].startswith("default-src 'none'")
    assert (headers["Allow"] == "GET, HEAD") == (status == 405)
    if method == "HEAD":
        assert body == ""
        assert int(headers["Content-Length"]) > 1000
    else:
        assert len(body.encode()) == int(headers["Content-Length"])


def raw(port, data, half_close=False):
    with socket.create_connection(("127.0.0.1", port), 30) as one:
        one.settimeout(60)
        one.sendall(data)
        if half_close:
            one.shutdown(socket.SHUT_WR)
        answer = b""
        while chunk := one.recv(65536):
            answer += chunk
        return answer


HEAD = b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n"


def test_odd_clients_are_answered_or_sent_away(seen):
    port = seen[2]

    def status(data, **options):
        return raw(port, data, **options).split(b" ")[1]

    assert status(HEAD, half_close=True) == b"200"
    assert status(b"GET / HTTP/1.0\n\n") == b"200"
    assert status(b"\x16\x03\x01\x02\x00\x01\x00\r\n\r\n") == b"400"
    assert status(b"GET / HTTP/1.1\r\nX: " + b"x" * 9000) == b"431"
    assert status(b"GET /" + b"x" * 1000 + b" HTTP/1.1\r\n\r\n") == b"414"
    assert status(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n") == b"505"
    # One request a connection, whatever else is sent along.
    assert raw(port, HEAD * 50).count(b"HTTP/1.1 ") == 1
    assert raw(port, b"POST / HTTP/1.1\r\nContent-Length: 4\r\n\r\nabcd") \
        .count(b"HTTP/1.1 405") == 1
    # Half a request gets nothing.
    assert raw(port, HEAD[:20], half_close=True) == b""


def test_many_and_slow_clients_do_not_keep_others_out(seen, receiver):
    dovecot, configuration, port = seen
    fds = f"/proc/{dovecot.daemon_process.pid}/fd"
    idle = []
    try:
        for _ in range(200):
            one = socket.create_connection(("127.0.0.1", port), 30)
            one.sendall(b"GET / HT")
            idle.append(one)
        # Others are served, and for them the oldest ones were let go at
        # once, not when their time was over.
        metrics(port)
        assert "mailhook" in get(port, "/")[2]
        kept = [one for one in idle if not ended(one)]
        assert len(kept) <= 16
        assert len(os.listdir(fds)) < 80
        # Those still there send a byte now and then; ten seconds are all.
        end = time.monotonic() + 60
        while kept:
            assert time.monotonic() < end, "slow connections stay"
            for one in kept:
                try:
                    one.sendall(b"T")
                except OSError:
                    pass
            time.sleep(0.5)
            kept = [one for one in kept if not ended(one)]
    finally:
        for one in idle:
            one.close()
    metrics(port)


def ended(one):
    one.setblocking(False)
    try:
        return one.recv(100) == b""
    except BlockingIOError:
        return False
    except OSError:
        return True
    finally:
        one.setblocking(True)


# -- the page

VOID = {"meta", "br", "hr", "input", "path", "rect"}
HEADINGS = ["h1", "h2", "h3"]


class Page(HTMLParser):
    """Whether the markup is whole and says what it is."""

    def __init__(self, text):
        super().__init__()
        self.stack, self.text, self.headings = [], [], []
        self.tags, self.ids, self.links, self.labels = [], [], [], []
        assert text.startswith("<!DOCTYPE html>")
        self.feed(text)
        self.close()
        assert self.stack == []

    def handle_starttag(self, tag, attributes):
        attributes = dict(attributes)
        self.tags.append((tag, attributes))
        if tag not in VOID:
            self.stack.append(tag)
        if "id" in attributes:
            self.ids.append(attributes["id"])
        if tag == "a":
            self.links.append(attributes["href"])
        if tag in HEADINGS:
            self.headings.append(tag)
        if tag == "th":
            assert attributes.get("scope") in ("row", "col"), "th"
        if tag == "svg":
            hidden = attributes.get("aria-hidden") == "true"
            label = attributes.get("aria-label")
            assert hidden != bool(label), "svg"
            if label:
                assert attributes["role"] == "img"
                self.labels.append(label)

    def handle_endtag(self, tag):
        if tag in VOID:
            return
        assert self.stack and self.stack[-1] == tag, \
            f"</{tag}> closes {self.stack[-3:]}"
        self.stack.pop()

    def handle_data(self, data):
        if "style" not in self.stack:
            self.text.append(data)


def test_the_page_is_whole(seen):
    """Always run, browser or not."""
    port = seen[2]
    status, headers, text = get(port, "/")
    assert headers["Content-Type"] == "text/html; charset=utf-8"
    policy = headers["Content-Security-Policy"]
    assert "default-src 'none'; style-src 'unsafe-inline'" in policy
    page = Page(text)
    names = [tag for tag, _ in page.tags]
    assert not {"script", "img", "link", "iframe", "form", "object"} & \
        set(names)
    assert not [a for _, a in page.tags
                for name in a if name.startswith("on") or name == "src"]
    attributes = dict(page.tags[0][1])
    assert page.tags[0][0] == "html" and attributes["lang"] == "en"
    metas = [a for tag, a in page.tags if tag == "meta"]
    assert {"charset": "utf-8"} in metas
    assert [a for a in metas if a.get("http-equiv") == "refresh"]
    assert [a for a in metas if a.get("name") == "viewport"]
    # One title, sections, then endpoints, in the file's order.
    assert page.headings[0] == "h1" and page.headings.count("h1") == 1
    assert page.headings.count("h2") == 2
    assert page.headings.count("h3") == 3
    assert len(page.ids) == len(set(page.ids)) == 3
    assert [link for link in page.links if link != "/metrics"] == \
        ["#" + one for one in page.ids]
    said = " ".join(page.text)
    assert said.index("portal") < said.index("billing") < \
        said.index("archive")
    for word in ("delivering", "paused", "Dead letters by what their last "
                 "attempt came to", "refused (4xx)", "accepted (2xx)",
                 "Journal", "Lost events"):
        assert word in said, word
    assert names.count("main") == 1 and "header" in names and \
        "footer" in names


CONTRAST = """
(() => {
  const channel = (v) => { v /= 255;
    return v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4; };
  const numbers = (c) => c.match(/[0-9.]+/g).map(Number);
  const light = (c) => { const [r, g, b] = numbers(c);
    return 0.2126 * channel(r) + 0.7152 * channel(g) + 0.0722 * channel(b); };
  const ground = (e) => { for (; e; e = e.parentElement) {
      const c = getComputedStyle(e).backgroundColor;
      if (numbers(c).length < 4 || numbers(c)[3] > 0) return c; }
    return "rgb(255,255,255)"; };
  const low = [];
  const walk = document.createTreeWalker(document.body,
    NodeFilter.SHOW_TEXT);
  while (walk.nextNode()) {
    const e = walk.currentNode.parentElement;
    if (!walk.currentNode.data.trim() || e.closest("style,svg")) continue;
    const a = light(getComputedStyle(e).color), b = light(ground(e));
    const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    if (ratio < 4.5) low.push(e.className + " " + e.textContent + " " +
      ratio.toFixed(2));
  }
  return low;
})()
"""


@pytest.fixture(scope="module")
def browser():
    if not program():
        pytest.skip("chromium is not installed (Debian: apt-get install "
                    "chromium), so no browser looks at the status page")
    with Browser() as one:
        yield one


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width, mobile", [
    (1280, False), (768, False), (390, True), (320, True)])
def test_a_browser_shows_the_page(seen, browser, width, mobile, scheme):
    url = f"http://{address(seen[2])}/"
    answer = browser.open(url, width, mobile=mobile, scheme=scheme)
    assert answer["status"] == 200
    assert browser.complaints() == []
    # Nothing sticks out at the side, not even by a pixel.
    assert browser.script("document.documentElement.scrollWidth") <= width
    assert browser.script(
        "[...document.querySelectorAll('body *')].filter((e) => "
        f"e.getBoundingClientRect().right > {width} + 0.5)"
        ".map((e) => e.tagName)") == []
    assert browser.script(CONTRAST) == []
    assert browser.script("matchMedia('(prefers-color-scheme: dark)')"
                          ".matches") == (scheme == "dark")
    ground = browser.script("getComputedStyle(document.body)"
                            ".backgroundColor")
    assert (ground == "rgb(14, 19, 27)") == (scheme == "dark")
    assert browser.script("document.compatMode") == "CSS1Compat"
    shots = build.BUILD / "screenshots"
    shots.mkdir(exist_ok=True)
    shot = shots / f"status-{width}-{scheme}.png"
    browser.screenshot(shot)
    assert shot.read_bytes().startswith(b"\x89PNG")


def test_the_page_draws_the_last_hour(seen):
    """What was delivered stands in the graph once its minute is over: by
    now, at the end of this file, nearly always at once."""
    def drawn():
        page = Page(get(seen[2], "/")[2])
        return [label for label in page.labels if "11 delivered" in label]

    portal, billing = until(lambda: len(drawn()) == 2 and drawn(),
                            "a sample of both", timeout=120)
    assert re.fullmatch(r"Last \d+ minutes: 11 delivered, 0 attempts "
                        r"failed; in the last minute \d+ delivered", portal)
    assert "11 delivered, 0 attempts" not in billing
