"""What the delivery benchmarks share: a daemon with a configuration, the
sink, the feeder, the bare libcurl loop, and honest figures."""

import contextlib
import json
import os
import pathlib
import pwd
import shutil
import signal
import socket
import statistics
import subprocess
import tempfile
import time
import urllib.request

SOURCE = pathlib.Path(__file__).resolve().parents[2]
BUILD = pathlib.Path(os.environ.get("MAILHOOK_BUILD", SOURCE / "build"))
TOOLS = BUILD / "tests/bench"
SECRET = "whsec_" + "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"


def prepare():
    subprocess.run(["make", "-s", "-C", BUILD, "mailhookd", "mailhookctl",
                    "bench-tools"], check=True, stdout=subprocess.DEVNULL)


def loaded():
    """How busy the machine is beside us: what every figure is worth."""
    return "load %.1f %.1f %.1f, %d cores" % (*os.getloadavg(),
                                              os.cpu_count())


def quartiles(values):
    """median [lower quartile, upper quartile], n"""
    values = sorted(values)
    if len(values) < 2:
        return values[0], values[0], values[0]
    low, middle, high = statistics.quantiles(values, n=4,
                                             method="inclusive")
    return middle, low, high


def say(what, values, form="%.2f", note=""):
    middle, low, high = quartiles(values)
    print(f"{what}: {form % middle} [{form % low}, {form % high}], "
          f"{len(values)} rounds{note}", flush=True)
    return middle


class Sink:
    def __init__(self):
        self.process = subprocess.Popen([TOOLS / "sink"],
                                        stdout=subprocess.PIPE, text=True)
        self.port = int(self.process.stdout.readline())

    def url(self, path):
        return f"http://127.0.0.1:{self.port}{path}"

    def _ask(self, what):
        with urllib.request.urlopen(self.url(what), timeout=60) as answer:
            return json.load(answer)

    def stats(self, path):
        return self._ask("/stats?" + path)

    def reset(self, path):
        self._ask("/reset?" + path)

    def mode(self, path, mode):
        self._ask(f"/mode?{path}={mode}")

    def wait(self, path, events, timeout=600, every=0.05):
        """Until that many were answered; how they came."""
        end = time.monotonic() + timeout
        while True:
            stats = self.stats(path)
            if stats["events"] >= events:
                return stats
            if time.monotonic() > end:
                raise AssertionError(f"{path}: {stats}, not {events}")
            time.sleep(every)

    def stop(self):
        self.process.kill()
        self.process.wait()


class Daemon:
    """endpoints: {name: (url, {key: value})}."""

    def __init__(self, endpoints, settings=None, where=None, binary=None):
        self.top = pathlib.Path(tempfile.mkdtemp(prefix="mailhook-bench-",
                                                 dir=where))
        self.state = self.top / "state"
        self.binary = binary or BUILD / "mailhookd"
        self.configure(endpoints, settings or {})
        self.state.mkdir()
        user = pwd.getpwnam("dovecot")
        for path in (self.top, self.state, self.top / "mailhook.conf"):
            os.chown(path, user.pw_uid, user.pw_gid)
        self.process = None

    def configure(self, endpoints, settings):
        lines = ['server_name = "mail.example.org"']
        lines += [f"{key} = {value}" for key, value in settings.items()]
        for name, (url, keys) in endpoints.items():
            lines += [f"endpoint {name} {{", f'  url = "{url}"',
                      f'  secret = {{"{SECRET}"}}']
            lines += [f"  {key} = {value}" for key, value in keys.items()]
            lines.append("}")
        (self.top / "mailhook.conf").write_text("\n".join(lines) + "\n")

    def start(self):
        """Returns the seconds until it answered."""
        self.log = open(self.top / "log", "ab")
        start = time.monotonic()
        self.process = subprocess.Popen(
            [self.binary, "--config", self.top / "mailhook.conf", "--dir",
             self.state, "--control", self.top / "control", "--user",
             "dovecot"], stderr=self.log,
            # It gives way to mail; what it is compared with does not.
            env={**os.environ, "MAILHOOK_NICE": "0"})
        while not self._answers():
            if self.process.poll() is not None:
                raise AssertionError(self.tail())
            time.sleep(0.002)
        return time.monotonic() - start

    def _answers(self):
        try:
            with socket.socket(socket.AF_UNIX) as one:
                one.connect(str(self.top / "control"))
                one.sendall(b'{"command":"status"}\n')
                return one.recv(1) != b""
        except OSError:
            return False

    def ctl(self, *arguments):
        return subprocess.run(
            [BUILD / "mailhookctl", "--control", self.top / "control",
             *arguments], capture_output=True, text=True)

    def reload(self):
        done = self.ctl("reload")
        assert done.returncode == 0, done.stderr

    def pause(self, name):
        assert self.ctl("pause", name).returncode == 0

    def resume(self, name):
        assert self.ctl("resume", name).returncode == 0

    def status(self):
        out = self.ctl("status", "--json").stdout
        return {one["name"]: one for one in json.loads(out)["endpoints"]}

    def tail(self):
        return (self.top / "log").read_text(errors="replace")[-2000:]

    def stop(self, how=signal.SIGTERM):
        if self.process is not None:
            self.process.send_signal(how)
            self.process.wait()
            self.log.close()
        self.process = None

    def cpu(self):
        """Seconds of processor time used, all threads."""
        fields = pathlib.Path(f"/proc/{self.process.pid}/stat").read_text()
        fields = fields.rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def resident(self):
        """Octets now, and the most there ever were."""
        status = pathlib.Path(f"/proc/{self.process.pid}/status").read_text()
        pick = {line.split(":")[0]: int(line.split()[1]) * 1024
                for line in status.splitlines() if line.startswith("Vm")}
        return pick["VmRSS"], pick["VmHWM"]

    def own(self):
        """Octets of what is resident that no file holds."""
        status = pathlib.Path(f"/proc/{self.process.pid}/status").read_text()
        return int(status.split("RssAnon:")[1].split()[0]) * 1024

    def switches(self):
        """Voluntary context switches, all threads: how often it woke."""
        total = 0
        for task in pathlib.Path(f"/proc/{self.process.pid}/task").iterdir():
            for line in (task / "status").read_text().splitlines():
                if line.startswith("voluntary_ctxt_switches"):
                    total += int(line.split()[1])
        return total

    def disk(self):
        """Octets of journal and of the ledger."""
        journal = ledger = 0
        for path in self.state.iterdir():
            with contextlib.suppress(FileNotFoundError):
                size = path.stat().st_blocks * 512
                if path.name.startswith("journal"):
                    journal += size
                elif path.name.startswith("ledger"):
                    ledger += size
        return journal, ledger

    def feed(self, count, owners, rate=0, batch=1, wait=True):
        process = subprocess.Popen(
            [TOOLS / "feed", self.state, str(count), str(owners), str(rate),
             str(batch)], stdout=subprocess.DEVNULL)
        if wait and process.wait() != 0:
            raise AssertionError("feed failed")
        return process

    def bare(self, endpoint, connections, count, each=1, live=False):
        """Events a second, and us of processor time an event, of the bare
        loop with this journal's events."""
        # The current file may just have been begun.
        journal = max(self.state.glob("journal*"),
                      key=lambda path: path.stat().st_size)
        out = subprocess.run(
            [TOOLS / "bare", self.top / "mailhook.conf", endpoint,
             journal, str(connections), str(count // each),
             str(each)] + (["live"] if live else []),
            capture_output=True, text=True)
        assert out.returncode == 0, out.stderr
        return [float(one) for one in out.stdout.split()]

    def remove(self):
        self.stop(signal.SIGKILL)
        shutil.rmtree(self.top)

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *exc):
        self.remove()
