"""The units in a real systemd: a Debian system that systemd-nspawn boots, installed as tiktrue-keys-operations(7) says.

    pytest tests/campaign/service.py

The displays of FIRST INSTALLATION and DAILY ROTATION are run and written as they stand in the page. Then timers fire, a
run fails, and cron takes the timer's place. It needs root, systemd-nspawn and a Debian folder (debian.py).
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.campaign.debian import debian, missing, wheels

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "man" / "tiktrue-keys-operations.7").read_text("utf-8")
PATIENCE = 150
_DISPLAY = re.compile(r"^\.Bd -literal\n(.*?)^\.Ed$", re.MULTILINE | re.DOTALL)
_FILE = re.compile(r"^\.Pa (/\S+)(?: [:,])?$", re.MULTILINE)

reason = missing("systemd-nspawn", "nsenter")
pytestmark = pytest.mark.skipif(reason is not None, reason=str(reason))


@dataclass
class Machine:
    """A booted system: its folder, and the process that is its first one."""

    folder: Path
    first: str

    def run(self, script: str, *, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run a script as root in the system, from the source folder."""
        enter = ["nsenter", "-t", self.first, "-m", "-u", "-i", "-n", "-p", "-r"]
        surroundings = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME": "/root"}
        wheelhouse = {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": "/wheels"}
        done = subprocess.run(
            [*enter, "/bin/sh", "-ec", f"cd /source\n{script}"],
            env=surroundings | wheelhouse | {"LANG": "C.UTF-8", "SYSTEMD_PAGER": ""},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=600,
            check=False,
        )
        assert not check or done.returncode == 0, f"{script}\n{done.stdout}{done.stderr}"
        return done

    def program(self, words: str, *, code: int = 0) -> subprocess.CompletedProcess[str]:
        """The program as the user of the service, with the license on standard input."""
        done = self.run(f"runuser -u tiktrue-keys -- tiktrue-keys {words} </etc/tiktrue-keys/license", check=False)
        assert done.returncode == code, f"{words}: {done.returncode}\n{done.stdout}{done.stderr}"
        return done

    def journal(self, unit: str) -> str:
        return self.run(f"journalctl --no-pager -o cat -u {unit}").stdout

    def shown(self, unit: str, name: str) -> str:
        return self.run(f"systemctl show -P {name} {unit}").stdout.strip()

    def start(self, unit: str) -> str:
        """Start a oneshot unit, and return the exit code of its program."""
        self.run(f"systemctl reset-failed {unit}; systemctl start {unit}", check=False)
        return self.shown(unit, "ExecMainStatus")


def wait_for(what: Callable[[], bool], doing: str) -> None:
    end = time.monotonic() + PATIENCE
    while not what():
        assert time.monotonic() < end, f"waited in vain: {doing}"
        time.sleep(1)


def steps(section: str, until: str = "\0") -> Iterator[tuple[str, str]]:
    """The displays of a section, each with the words before it."""
    text = PAGE.partition(f".Sh {section}\n")[2].partition("\n.Sh ")[0].partition(until)[0]
    before = 0
    for found in _DISPLAY.finditer(text):
        yield text[before : found.start()], found[1].replace("\\e", "\\").replace("\\(aq", "'").replace("\\&", "")
        before = found.end()


def play(machine: Machine, section: str, until: str = "\0") -> None:
    """Do what a section says: run its commands, write its files."""
    path = ""
    for words, display in steps(section, until):
        if display.startswith(("# ", "$ ")):
            joined = display.replace("\\\n", " ")
            for line in joined.splitlines():
                _type(machine, line, licensed="(license)" in words)
            continue
        named = _FILE.findall(words)
        path = path if "the same file" in words else named[-1]
        file = machine.folder / path[1:]
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text((file.read_text() if "the same file" in words else "") + display)


def _type(machine: Machine, line: str, *, licensed: bool) -> None:
    if line.startswith("# "):
        machine.run(line[2:])
    elif licensed:
        machine.run(f"runuser -u tiktrue-keys -- {line[2:]} --license-file - </etc/tiktrue-keys/license")
    else:
        machine.run(f"runuser -u tiktrue-keys -- {line[2:]}")


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    """A booted system in which the program is installed and its timers are enabled, as the page says."""
    scratch = tmp_path_factory.mktemp("system")
    folder = debian(scratch / "debian")
    wheels(folder / "wheels", ROOT / "requirements.lock")
    (folder / "source").mkdir()
    tracked = subprocess.run(
        ["git", "ls-files", "-z", "-co", "--exclude-standard"], cwd=ROOT, capture_output=True, check=True
    ).stdout
    packed = subprocess.run(
        ["tar", "--null", "-T", "-", "-cf", "-"], cwd=ROOT, input=tracked, capture_output=True, check=True
    )
    subprocess.run(["tar", "-xf", "-", "-C", folder / "source"], input=packed.stdout, check=True)
    boot = ["systemd-nspawn", "--register=no", "--keep-unit", "--quiet", "-D", str(folder), "--boot"]
    log = (scratch / "boot.log").open("wb")
    nspawn = subprocess.Popen(boot, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
    try:
        children = ["pgrep", "-P", str(nspawn.pid)]
        wait_for(lambda: subprocess.run(children, capture_output=True, check=False).returncode == 0, "nspawn")
        made = Machine(folder, subprocess.run(children, capture_output=True, text=True, check=True).stdout.split()[0])
        state = "systemctl is-system-running"
        wait_for(lambda: made.run(state, check=False).stdout.strip() in ("running", "degraded"), "the boot")
        made.run("groupadd models; useradd -g models -M alice; apt-get --version >/dev/null")
        _prepare_models(made)
        play(made, "FIRST INSTALLATION", until="Create an escrow and a backup")
        made.run("install -d -o tiktrue-keys -m 700 /mnt/backup/tiktrue-keys /mnt/backup/heads")
        play(made, "DAILY ROTATION", until="Monitor the exit status")
        yield made
    finally:
        nspawn.terminate()
        nspawn.wait(timeout=60)
        log.close()
        shutil.rmtree(folder, ignore_errors=True)


def _prepare_models(machine: Machine) -> None:
    """What the page takes for granted: the model, make, and a program that tells an operator."""
    pager = machine.folder / "usr/local/bin/page-the-operator"
    pager.write_text('#!/bin/sh\nlogger -t paged "$1"\n')
    pager.chmod(0o755)
    make = shutil.which("make")
    assert make is not None
    shutil.copy(make, machine.folder / "usr/local/bin/make")
    machine.run(
        "mkdir -p /srv/models; head -c 3000000 /dev/urandom >/srv/models/llama-7b.gguf; chmod 644 /srv/models/*.gguf"
    )


def test_the_page_leads_to_a_run_that_succeeds(machine: Machine) -> None:
    doctor = machine.program("doctor")  # the last step of the installation

    assert "failed" not in doctor.stdout
    assert machine.shown("tiktrue-keys-daily.service", "Result") == "success"
    assert machine.shown("tiktrue-keys-daily.service", "ExecMainStatus") == "0"
    assert machine.shown("tiktrue-keys-daily.timer", "ActiveState") == "active"
    assert machine.shown("tiktrue-keys-cleanup.timer", "UnitFileState") == "disabled"
    assert os.listdir(machine.folder / "mnt/backup/tiktrue-keys")
    assert os.listdir(machine.folder / "mnt/backup/heads")


def test_root_is_told_how_to_run_as_the_owner(machine: Machine) -> None:
    refused = machine.run("tiktrue-keys list", check=False)

    assert refused.returncode == 13
    assert "runuser -u tiktrue-keys -- tiktrue-keys" in refused.stderr


def test_the_timer_rotates_a_licensed_key_and_the_model_of_another_user(machine: Machine) -> None:
    machine.run("chown alice:models /srv/models; chmod 2770 /srv/models; usermod -a -G models tiktrue-keys")
    machine.program("generate mistral --lifetime 1m --license-file -")
    old = machine.program("show mistral --quiet").stdout.split()[0]
    machine.run("head -c 2000000 /dev/urandom >/srv/models/m.bin; chown tiktrue-keys:models /srv/models/m.bin")
    machine.program("encrypt-model /srv/models/m.bin --key mistral --license-file -")
    machine.run("chown alice:models /srv/models/m.bin.ttm; chmod 660 /srv/models/m.bin.ttm")
    timer = machine.folder / "etc/systemd/system/tiktrue-keys-daily.timer.d/fast.conf"
    timer.parent.mkdir(exist_ok=True)
    timer.write_text("[Timer]\nOnCalendar=\nOnCalendar=*:*:0/10\nRandomizedDelaySec=0\nAccuracySec=1\n")
    machine.run("systemctl daemon-reload; systemctl restart tiktrue-keys-daily.timer")
    try:
        wait_for(lambda: "mistral_" in machine.journal("tiktrue-keys-daily.service"), "the timer's rotation")
    finally:
        timer.unlink()
        machine.run("systemctl daemon-reload; systemctl restart tiktrue-keys-daily.timer")
    wait_for(lambda: machine.shown("tiktrue-keys-daily.service", "ActiveState") == "inactive", "the end of the run")

    new = machine.program("show mistral --quiet").stdout.split()
    assert old != new[-1]
    assert new[-1] in machine.journal("tiktrue-keys-daily.service")
    assert machine.shown("tiktrue-keys-daily.service", "ExecMainStatus") == "0"
    assert new[-1] in machine.run("runuser -u alice -- tiktrue-keys inspect-model /srv/models/m.bin.ttm").stdout
    assert machine.run("stat -c '%U %a' /srv/models/m.bin.ttm").stdout.strip() == "alice 660"


def test_a_run_that_fails_marks_its_unit_and_tells(machine: Machine) -> None:
    paged, alerts = "journalctl --no-pager -o cat -t paged", "journalctl --no-pager -o cat -p alert -t tiktrue-keys"
    machine.run("mv /var/lib/tiktrue-keys-host/secret /root/secret")
    try:
        code = machine.start("tiktrue-keys-daily.service")
        failed = machine.shown("tiktrue-keys-daily.service", "ActiveState")
        wait_for(lambda: "tiktrue-keys-daily.service" in machine.run(paged).stdout, "the program of the page")
        machine.run("rm -r /etc/systemd/system/tiktrue-keys-failed@.service.d; systemctl daemon-reload")
        machine.start("tiktrue-keys-daily.service")
        wait_for(lambda: "tiktrue-keys-daily.service failed" in machine.run(alerts).stdout, "the alert")
        told = machine.run(alerts).stdout
    finally:
        machine.run("mv /root/secret /var/lib/tiktrue-keys-host/secret")

    assert (code, failed) == ("8", "failed")
    assert "tiktrue-keys-daily.service failed: journalctl -u tiktrue-keys-daily.service says why" in told
    assert "host secret of this keystore is not on this machine" in machine.journal("tiktrue-keys-daily.service")
    assert machine.start("tiktrue-keys-daily.service") == "0"


def test_metrics_lie_where_their_collector_finds_them(machine: Machine) -> None:
    assert machine.start("tiktrue-keys-metrics.service") == "0"
    found = machine.run("stat -c %a /run/tiktrue-keys/tiktrue-keys.prom; cat /run/tiktrue-keys/tiktrue-keys.prom")
    assert found.stdout.startswith("644\n")
    assert "tiktrue_keys_" in found.stdout
    assert machine.start("tiktrue-keys-cleanup.service") == "0"


def test_cron_does_what_the_timer_does(machine: Machine) -> None:
    cron = (ROOT / "tiktrue_keys/deploy/systemd/tiktrue-keys.cron").read_text()
    cron = cron.replace("17 3 * * *", "* * * * *").replace("/etc/tiktrue-keys/license", "/var/lib/license")
    machine.run("install -o tiktrue-keys -m 600 /etc/tiktrue-keys/license /var/lib/license")
    machine.run("rm -rf /var/backups/tiktrue-keys/*.db /var/backups/tiktrue-keys/checkpoints/*")
    (machine.folder / "etc/cron.d/tiktrue-keys").write_text(cron)
    try:
        wait_for(lambda: bool(os.listdir(machine.folder / "var/backups/tiktrue-keys/checkpoints")), "cron")
    finally:
        (machine.folder / "etc/cron.d/tiktrue-keys").unlink()


if __name__ == "__main__":
    sys.exit(pytest.main(["-q", "-p", "no:cacheprovider", __file__]))
