"""What the units' mounts leave visible: the facts that keys are bound to, for the system user as for root.

No systemd runs in a test, so that each directive's mounts are made by hand, in the namespaces of a made-up machine with
all five facts. Not made: the filters on system calls and address families, which reading files does not meet.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import pytest

from tests.fleet.test_systemd import SERVICES, UNITS
from tests.machines import REPOSITORY, SERVER, Machine, _as_user, give_to_nobody, skip_reason
from tests.program import LICENSE

pytestmark = pytest.mark.skipif(skip_reason() is not None, reason=str(skip_reason()))

User = Literal["root", "nobody"]
STATE = ("/var/lib/tiktrue-keys", "/var/lib/tiktrue-keys-host")
HIDDEN = {"ProtectHome=yes": ("/home", "/root", "/run/user"), "ProtectKernelModules=yes": ("/usr/lib/modules",)}
COVERED = {"PrivateTmp=yes": ("/tmp", "/var/tmp")}
MADE = {
    "PrivateDevices=yes": """
mkdir $PWD/devices
mount -t tmpfs -o mode=755 made-up $PWD/devices
for each in null zero full random urandom tty; do
  touch $PWD/devices/$each
  mount --bind /dev/$each $PWD/devices/$each
done
mkdir -m 1777 $PWD/devices/shm
mount --rbind $PWD/devices /dev
""",
    "ProtectProc=invisible": "mount -t proc -o hidepid=2 made-up /proc",
    "ProtectKernelTunables=yes": "mount --bind /proc/sys /proc/sys; mount -o remount,bind,ro /proc/sys",
    "ProtectKernelLogs=yes": "mount --bind /dev/null /proc/kmsg",
    "ProtectControlGroups=yes": "mount --bind /sys/fs/cgroup /sys/fs/cgroup; mount -o remount,bind,ro /sys/fs/cgroup",
    "ProtectSystem=strict": """
cut -d ' ' -f 5 /proc/self/mountinfo | sort -u | while read -r place; do
  case $place in
    /proc*|/dev*|/tmp|/var/tmp|/var/lib) ;;
    *) mount -o remount,bind,ro "$place" 2>/dev/null || true ;;
  esac
done
for each in /etc /usr /sys/class; do
  ! touch $each/probe 2>/dev/null || { echo "$each can be written" >&2; exit 99; }
done
""",
}
"""What a directive does to files; /var/lib stays writable for the sake of the two folders of StateDirectory."""

ELSEWHERE = re.compile(
    "NoNewPrivileges|CapabilityBoundingSet|AmbientCapabilities|DevicePolicy|ProtectClock|ProtectHostname|Restrict.*|"
    "LockPersonality|MemoryDenyWriteExecute|RemoveIPC|KeyringMode|SystemCall.*|Limit.*|UMask|User|Group|StateDirectory.*|"
    "ConfigurationDirectory|LoadCredential|ReadWritePaths|Type|ExecStart|Restart|RestartSec|SuccessExitStatus|"
    "RuntimeDirectory.*|TimeoutStartSec|WatchdogSec"
)
"""Directives that put nothing over a path that facts are read from."""


def directives(name: str) -> list[str]:
    """The lines of a unit's [Service]."""
    service = (UNITS / name).read_text().partition("[Service]\n")[2].partition("\n[")[0]
    return [line for line in service.splitlines() if re.match("[A-Za-z]+=", line)]


def mounts(wanted: list[str], keep: list[Path]) -> Iterator[str]:
    """The commands that do what the directives say, `keep` excepted: where the tests themselves lie, nothing hides."""
    for line, mode in [(line, "000") for line in HIDDEN] + [(line, "1777") for line in COVERED]:
        for place in (HIDDEN | COVERED)[line] if line in wanted else ():
            if Path(place).is_dir() and not any(path.is_relative_to(place) for path in keep):
                yield f"mount -t tmpfs -o mode={mode} made-up {place}"
    yield from (MADE[line] for line in MADE if line in wanted)


def run(machine: Machine, folder: Path, *words: str, user: User = "nobody", unit: str | None = None) -> Any:
    """The envelope of a command on the machine, as the unit runs it when one is named."""
    *reachable, enter, become = _as_user(user, [folder])
    # NoNewPrivileges and an empty CapabilityBoundingSet, as every unit has them.
    become = become.replace("--clear-groups", "--clear-groups --no-new-privs --bounding-set=-all --inh-caps=-all")
    needed = [folder, Path(sys.base_prefix), Path(sys.prefix), REPOSITORY]
    made = mounts(directives(unit), needed) if unit else ()
    script = "\n".join(["set -e", *reachable, *made, enter, become])
    done: subprocess.CompletedProcess[str] = machine.run(
        ["sh", "-c", script, "sh", sys.executable, "-m", "tiktrue_keys", *words, "--json"],
        env={"PYTHONPATH": str(REPOSITORY), "STATE_DIRECTORY": ":".join(STATE), "TIKTRUE_LICENSE_KEY": LICENSE},
        cwd=folder,
    )
    assert done.stdout, done.stderr
    return json.loads(done.stdout)


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A working folder that is nobody's, in whose place of /var/lib the unit's state folders are."""
    for each in STATE:
        (tmp_path / each.lstrip("/")).mkdir(mode=0o700, parents=True)
    return give_to_nobody(tmp_path)


def machine_with(place: Path) -> Machine:
    return Machine(**{**vars(SERVER), "folders": {"/var/lib": place / "var/lib"}})


def test_facts_as_root_as_the_user_and_under_the_units_mounts(place: Path) -> None:
    machine = machine_with(place)
    root, user = (run(machine, place, "binding", "show", user=each)["result"] for each in ("root", "nobody"))
    boxed = run(machine, place, "binding", "show", unit=SERVICES[1])["result"]

    kinds = {each["kind"] for each in root["facts"]}
    assert kinds == {"system-uuid", "board-serial", "nic", "disk", "machine-id"}
    assert root["unreadable"] == []
    # What firmware says is for root alone; both say so, and see everything else as root does.
    hidden = [each for each in root["facts"] if each["source"] not in user["unreadable"]]
    assert user["facts"] == hidden
    assert {each["kind"] for each in user["facts"]} == {"nic", "disk", "machine-id"}
    for member in ("fingerprint", "facts", "unreadable", "supporting", "machine_borne", "weak"):
        assert boxed[member] == user[member], member


@pytest.mark.parametrize(("makes", "uses"), [(None, SERVICES[0]), (SERVICES[0], None)])
def test_what_the_one_makes_the_other_opens(place: Path, makes: str | None, uses: str | None) -> None:
    machine = machine_with(place)
    made = run(machine, place, "generate", "llama", unit=makes)
    assert made["keystore"] == STATE[0]
    checked = run(machine, place, "validate", "llama", unit=uses)
    assert (checked["exit"], checked["result"]["keys"][0]["status"]) == (0, "active")


@pytest.mark.parametrize("unit", SERVICES)
def test_every_directive_was_thought_of(unit: str) -> None:
    known = {*HIDDEN, *COVERED, *MADE}
    others = [line for line in directives(unit) if line not in known]
    assert [line for line in others if not ELSEWHERE.fullmatch(line.partition("=")[0])] == []
    assert known <= set(directives(unit))
