"""`fleet receive --watch` through outages, and what the service manager hears of it."""

from __future__ import annotations

import contextlib
import signal
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fleet.processes import Staff
from tests.waiting import PATIENCE
from tiktrue_keys.cli.commands.fleet.watch import Watch
from tiktrue_keys.cli.context.service import ServiceManager
from tiktrue_keys.cli.view.outcome import Outcome
from tiktrue_keys.errors import BusyError, IntegrityError, RefusedError, TikTrueKeysError, UnavailableError

NOTHING = Outcome(result={}, changed=False)
NEWS = Outcome(result={}, changed=True)
MISSING = UnavailableError("the spool is missing", remedy="create-spool")


class Scene:
    """A watch whose rounds are given, in a time of its own, and everything that it does in order."""

    def __init__(self, *rounds: Outcome | TikTrueKeysError, waits: tuple[float, ...] = ()) -> None:
        self.log: list[str] = []
        self.now = 0.0
        self._rounds = list(rounds)
        self._waits = list(waits)
        self.watch = Watch(self, self.service(), clock=lambda: self.now, sleep=self.sleep, chance=lambda: 0.5)

    def service(self) -> ServiceManager:
        scene = self

        class Told(ServiceManager):
            def _send(self, text: str) -> None:
                if text != "WATCHDOG=1":
                    scene.log.append(text)

        return Told({"NOTIFY_SOCKET": "/nowhere", "WATCHDOG_USEC": "0"}, 1)

    def receive(self) -> Outcome:
        said = self._rounds.pop(0)
        if isinstance(said, TikTrueKeysError):
            raise said
        return said

    def report(self, outcome: Outcome) -> None:
        self.log.append("report")

    def warn(self, text: str) -> None:
        self.log.append(text)

    def sleep(self, seconds: float) -> None:
        self.log.append(f"pause {seconds}")
        self.now += seconds

    def wait(self, seconds: float) -> None:
        self.log.append(f"wait {seconds:g}")
        self.now += self._waits.pop(0) if self._waits else seconds

    def play(self) -> list[str]:
        while self._rounds:
            self.watch.step()
        return self.log


def test_an_outage_is_one_line_at_its_start_and_one_at_its_end() -> None:
    outages = [UnavailableError(text) for text in ("refused", "timed out", "no route", "no route")]
    assert Scene(NOTHING, *outages, NOTHING, outages[0], NOTHING).play() == [
        "READY=1",
        "STATUS=waiting for envelopes",
        "wait 2",
        "warning: refused; trying again",
        "STATUS=outage: refused",
        "pause 0.75",
        "STATUS=outage: timed out",
        "pause 1.5",
        "STATUS=outage: no route",
        "pause 1.5",
        "pause 1.5",
        "the outage is over",
        "STATUS=waiting for envelopes",
        "wait 2",
        "warning: refused; trying again",
        "STATUS=outage: refused",
        "pause 0.75",
        "the outage is over",
        "STATUS=waiting for envelopes",
        "wait 2",
    ]


def test_an_outage_after_envelopes_is_in_their_report_only() -> None:
    half = Outcome(result={}, changed=True, error=UnavailableError("no answer"))
    log = Scene(half, UnavailableError("no answer"), NOTHING).play()
    assert [line for line in log if not line.startswith(("pause", "wait", "STATUS"))] == [
        "report",
        "READY=1",
        "the outage is over",
    ]


def test_a_problem_that_stays_is_reported_once() -> None:
    blocked = Outcome(result={}, changed=False, error=IntegrityError("forked"))
    log = Scene(blocked, blocked, NOTHING, blocked, NEWS).play()
    assert log.count("report") == 4, "it came, it went, it came, it went with news"
    assert "STATUS=forked" in log


def test_another_process_at_the_keystore_is_waited_for() -> None:
    assert "warning: the keystore is in use; trying again" in Scene(BusyError("the keystore is in use"), NEWS).play()


def test_a_spool_that_is_missing_at_the_start_is_an_error_and_later_an_outage() -> None:
    with pytest.raises(UnavailableError, match="missing"):
        Scene(MISSING).play()
    assert "warning: the spool is missing; trying again" in Scene(NOTHING, MISSING, NOTHING).play()
    assert "warning: other; trying again" in Scene(UnavailableError("other"), MISSING, NOTHING).play()


def test_what_is_no_outage_ends_it() -> None:
    scene = Scene(NOTHING, RefusedError("no issuer"))
    with pytest.raises(RefusedError):
        scene.watch.run()
    assert scene.log[-1] == "STOPPING=1"


def test_news_ends_a_wait_and_quiet_makes_it_longer() -> None:
    log = Scene(*[NOTHING] * 5, waits=(2, 4, 1, 2)).play()
    assert [line for line in log if line.startswith("wait")] == ["wait 2", "wait 4", "wait 8", "wait 2", "wait 4"]


@contextlib.contextmanager
def manager(address: str | bytes) -> Iterator[socket.socket]:
    """The socket of a service manager."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as made:
        made.bind(address)
        made.settimeout(PATIENCE)
        yield made


def heard(made: socket.socket) -> list[str]:
    """What has arrived."""
    made.setblocking(False)
    said = []
    with contextlib.suppress(BlockingIOError):
        while True:
            said.append(made.recv(4096).decode())
    return said


def speak(service: ServiceManager) -> None:
    service.ready()
    for text in ("one\nline", "one line", "x" * 300):
        service.status(text)
    service.alive()
    service.stopping()


@pytest.mark.parametrize("kind", ["path", "abstract"])
def test_the_service_manager_hears(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    monkeypatch.chdir(tmp_path)  # the path of a socket is short
    name = f"@tiktrue-{tmp_path}"[-100:] if kind == "abstract" else "/proc/self/cwd/socket"
    name = f"@{name[1:]}" if kind == "abstract" else name
    with manager(name.replace("@", "\0", 1)) as made:
        speak(ServiceManager({"NOTIFY_SOCKET": name, "WATCHDOG_USEC": "3000000", "WATCHDOG_PID": "7"}, 7))
        assert heard(made) == ["READY=1", "STATUS=one line", f"STATUS={'x' * 200}", "WATCHDOG=1", "STOPPING=1"]
        speak(ServiceManager({"NOTIFY_SOCKET": name, "WATCHDOG_USEC": "3000000", "WATCHDOG_PID": "8"}, 7))
        assert "WATCHDOG=1" not in heard(made)


@pytest.mark.parametrize("limit", ["", "0", "-1", "1e6", "²", "9" * 5000])
def test_no_watchdog(limit: str) -> None:
    assert ServiceManager({"NOTIFY_SOCKET": "/nowhere", "WATCHDOG_USEC": limit}, 7).interval is None


@pytest.mark.parametrize("name", ["", "relative", "vsock:2:1", "@", "/nowhere", "/" + "x" * 200])
def test_no_service_manager_is_no_error(name: str) -> None:
    speak(ServiceManager({"NOTIFY_SOCKET": name, "WATCHDOG_USEC": "1000000"}, 7))


def test_signs_of_life_come_twice_in_the_limit() -> None:
    scene = Scene(NOTHING)
    scene.watch._service.interval = 0.5
    scene.play()
    assert scene.log[-4:] == ["wait 0.5"] * 4


def test_a_service_from_its_start_to_its_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    staff = Staff(tmp_path, f"spool:{tmp_path / 'spool'}", {}, ["n1"])
    node, spool = staff.nodes["n1"], tmp_path / "spool"
    name = f"@tiktrue-{tmp_path}"[:100]
    with manager("\0" + name[1:]) as made:
        variables = {"NOTIFY_SOCKET": name, "WATCHDOG_USEC": "1000000"}
        spool.rename(tmp_path / "away")
        refused = subprocess.run(
            node.argv("fleet", "receive", "--watch"),
            env=node.environment | variables,
            cwd=node.folder,
            capture_output=True,
            text=True,
            check=False,
        )
        assert refused.returncode == 12
        assert f"mkdir {spool}" in refused.stderr
        assert heard(made) == ["STOPPING=1"]

        made.settimeout(PATIENCE)
        (tmp_path / "away").rename(spool)
        with subprocess.Popen(
            node.argv("fleet", "receive", "--watch"),
            env=node.environment | variables,
            cwd=node.folder,
            stderr=subprocess.PIPE,
            text=True,
        ) as watching:
            try:
                said = until(made, "STATUS=waiting for envelopes")
                spool.rename(tmp_path / "away")
                said += until(made, f"STATUS=outage: the spool {spool} is not a folder that exists")
                (tmp_path / "away").rename(spool)
                said += until(made, "STATUS=waiting for envelopes")
            finally:
                watching.send_signal(signal.SIGTERM)
            said += until(made, "STOPPING=1")
            assert watching.wait(PATIENCE) == 143
            assert watching.stderr is not None
            written = watching.stderr.read()
    assert said[0] == "WATCHDOG=1"
    assert said[1] == "READY=1"
    assert set(said) == {"READY=1", "WATCHDOG=1", "STOPPING=1", *(line for line in said if line.startswith("STATUS"))}
    assert (written.count("trying again"), written.count("the outage is over")) == (1, 1)


def until(made: socket.socket, line: str) -> list[str]:
    """What arrives up to this line."""
    said: list[str] = []
    while line not in said:
        said.append(made.recv(4096).decode())
    return said
