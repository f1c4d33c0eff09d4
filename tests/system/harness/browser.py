"""A headless Chromium, spoken to over its own pipe (DevTools protocol): real
layout at a telephone's or a desk's width, light or dark, and screenshots."""

import base64
import fcntl
import json
import os
import shutil
import signal
import subprocess
import tempfile

ARGUMENTS = [
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic",
    "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--hide-scrollbars",
    "--remote-debugging-pipe"]


def program():
    return shutil.which("chromium") or shutil.which("chromium-browser")


class Browser:
    def __init__(self):
        self.profile = tempfile.mkdtemp(prefix="mailhook-chromium-")
        commands, self._to = self._pipe()
        self._from, answers = self._pipe()
        self.process = subprocess.Popen(
            [program(), *ARGUMENTS, f"--user-data-dir={self.profile}"],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL, pass_fds=(3, 4),
            start_new_session=True,
            preexec_fn=lambda: (os.dup2(commands, 3), os.dup2(answers, 4)))
        os.close(commands)
        os.close(answers)
        self._input = os.fdopen(self._from, "rb")
        self._rest = b""
        self._number = 0
        self._events = []
        target = self.call("Target.createTarget", url="about:blank")
        self._session = self.call(
            "Target.attachToTarget", targetId=target["targetId"],
            flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")

    @staticmethod
    def _pipe():
        """Numbers well above 3 and 4, which the child needs."""
        high = []
        for one in os.pipe():
            high.append(fcntl.fcntl(one, fcntl.F_DUPFD_CLOEXEC, 20))
            os.close(one)
        return high

    def close(self):
        os.close(self._to)
        self._input.close()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
        shutil.rmtree(self.profile, ignore_errors=True)

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.close()

    def _read(self):
        while b"\0" not in self._rest:
            more = self._input.raw.read(65536)
            if not more:
                raise RuntimeError("Chromium ended")
            self._rest += more
        one, self._rest = self._rest.split(b"\0", 1)
        return json.loads(one)

    def call(self, method, **params):
        self._number += 1
        message = {"id": self._number, "method": method, "params": params}
        if getattr(self, "_session", None):
            message["sessionId"] = self._session
        data = json.dumps(message).encode() + b"\0"
        while data:
            data = data[os.write(self._to, data):]
        while True:
            answer = self._read()
            if answer.get("id") == self._number:
                if "error" in answer:
                    raise RuntimeError(f"{method}: {answer['error']}")
                return answer["result"]
            self._events.append(answer)

    def open(self, url, width, height=900, mobile=False, scheme="light"):
        """Returns the document's HTTP answer."""
        self.call("Emulation.setDeviceMetricsOverride", width=width,
                  height=height, deviceScaleFactor=2 if mobile else 1,
                  mobile=mobile)
        self.call("Emulation.setEmulatedMedia", features=[
            {"name": "prefers-color-scheme", "value": scheme}])
        self._events.clear()
        gone = self.call("Page.navigate", url=url)
        if gone.get("errorText"):
            raise RuntimeError(gone["errorText"])
        self._wait("Page.loadEventFired")
        [answer] = [e["params"]["response"] for e in self._events
                    if e.get("method") == "Network.responseReceived" and
                    e["params"]["type"] == "Document"]
        return answer

    def _wait(self, method):
        while not any(e.get("method") == method for e in self._events):
            self._events.append(self._read())

    def complaints(self):
        """What the console says: refused styles, broken markup."""
        return [e["params"]["entry"]["text"] for e in self._events
                if e.get("method") == "Log.entryAdded" and
                "favicon" not in json.dumps(e)]

    def script(self, expression):
        result = self.call("Runtime.evaluate", expression=expression,
                           returnByValue=True)
        if "exceptionDetails" in result:
            raise RuntimeError(result["exceptionDetails"])
        return result["result"].get("value")

    def screenshot(self, path):
        """All of the page, also what one would scroll to."""
        shot = self.call("Page.captureScreenshot", format="png",
                         captureBeyondViewport=True)
        with open(path, "wb") as file:
            file.write(base64.b64decode(shot["data"]))
