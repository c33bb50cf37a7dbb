"""Made-up machines: runs an unmodified program where /sys and /etc/machine-id show other hardware.

    server = Machine(system_uuid="...", nics=["b0:7b:25:9c:11:40"], machine_id="...")
    done = server.run(["tiktrue-keys", "binding", "show"], user="nobody", cwd=tmp_path)

Each run has a mount and a network namespace of its own: its mounts are gone afterwards, the files it wrote stay.
Only root can make one; `skip_reason()` says why not. The firmware's files are for root alone, as on real machines.
"""

from __future__ import annotations

import os
import pwd
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Literal

from tests.faked_clock import of_the_clock

REPOSITORY = Path(__file__).resolve().parents[1]
_UNSHARE = ("unshare", "--mount", "--net", "--propagation", "private")
_TIMEOUT_SECONDS = 300
_HOLDER = "/sys/firmware"  # every kernel has it, no closed parent is above it, and what it shows is hidden anyway


@dataclass(frozen=True)
class Nic:
    """A network interface; without a bus device it is a virtual one such as a bridge."""

    address: str
    bus_device: bool = True
    assigned: int = 0
    bond_member_of: str | None = None  # the address that the bond gives to all its members


@dataclass(frozen=True, kw_only=True)
class Machine:
    """What a program may see of a machine. A string in `nics` is a permanent address on a bus device.

    `disks` are world-wide identifiers as the kernel spells them. Vary one with `dataclasses.replace`.
    """

    system_uuid: str | None = None
    board_serial: str | None = None
    nics: Sequence[str | Nic] = ()
    disks: Sequence[str] = ()
    machine_id: str | None = None
    folders: Mapping[str, Path] = field(default_factory=dict)
    """Folders shown in the place of others that exist, such as {"/var/lib": tmp_path / "var-lib"}."""

    def run(
        self,
        argv: Sequence[str | os.PathLike[str]],
        *,
        user: Literal["root", "nobody"] = "root",
        env: Mapping[str, str] | None = None,
        input: str | None = None,  # noqa: A002  as in subprocess.run
        cwd: Path | None = None,
        reach: Sequence[Path] = (),
    ) -> subprocess.CompletedProcess[str]:
        """Run `argv` on this machine and return what it did, its output as text.

        The environment is `env` beside PATH, LANG and HOME (which is `cwd`), nothing of the tests' own. For nobody the
        interpreter, the repository, `cwd` and `reach` are made reachable, whatever their parents' permissions; who
        owns them is the caller's affair (see `give_to_nobody`).
        """
        at = cwd or Path("/")
        surroundings = {"PATH": _path(), "LANG": "C.UTF-8", "HOME": str(at), "PWD": str(at), "TIKTRUE_EPHEMERAL": "1"}
        with tempfile.TemporaryDirectory(prefix="made-up-machine-") as folder:
            made = Path(folder)
            script = "\n".join(["set -e", *self._mounts(made), *_as_user(user, [at, *reach])])
            return subprocess.run(
                [*_UNSHARE, "sh", "-c", script, "sh", *(os.fspath(word) for word in argv)],
                env=surroundings | of_the_clock() | dict(env or {}),
                cwd=at,
                input=input,
                stdin=subprocess.DEVNULL if input is None else None,
                capture_output=True,
                text=True,
                timeout=_TIMEOUT_SECONDS,
                check=False,
            )

    def _mounts(self, made: Path) -> Iterator[str]:
        """Build the files in `made`; yield the commands that show them in their places."""
        made.chmod(0o755)
        (made / "empty").mkdir()
        (made / "holder").mkdir()
        self._plant_firmware(made / "class/dmi/id")
        self._plant_nics(made / "class/net")
        self._plant_disks(made / "class/block")
        yield _bind(made / "class", "/sys/class")
        yield _bind(made / "empty", "/sys/block")
        yield _bind(made / "holder", _HOLDER)
        _write(made / "machine-id", self.machine_id or "", 0o444)
        if not Path("/etc/machine-id").exists():
            shutil.copytree("/etc", made / "etc", symlinks=True)
            (made / "etc/machine-id").touch()
            yield _bind(made / "etc", "/etc")
        yield _bind(made / "machine-id", "/etc/machine-id")
        for place, shown in self.folders.items():
            yield _bind(shown, place)

    def _plant_firmware(self, folder: Path) -> None:
        folder.mkdir(parents=True)
        for name, value in (("product_uuid", self.system_uuid), ("board_serial", self.board_serial)):
            if value is not None:
                _write(folder / name, value, 0o400)

    def _plant_nics(self, folder: Path) -> None:
        folder.mkdir()
        for number, nic in enumerate(Nic(nic) if isinstance(nic, str) else nic for nic in self.nics):
            place = folder / f"eth{number}"
            place.mkdir()
            if nic.bus_device:
                (place / "device").mkdir()
            if nic.bond_member_of is not None:
                (place / "bonding_slave").mkdir()
                _write(place / "bonding_slave/perm_hwaddr", nic.address, 0o444)
            _write(place / "address", nic.bond_member_of or nic.address, 0o444)
            _write(place / "addr_assign_type", str(nic.assigned), 0o444)

    def _plant_disks(self, folder: Path) -> None:
        folder.mkdir()
        for number, identifier in enumerate(self.disks):
            (folder / f"disk{number}/device").mkdir(parents=True)
            _write(folder / f"disk{number}/device/wwid", identifier, 0o444)


SERVER = Machine(
    system_uuid="4C4C4544-0042-3510-8052-C7C04F4E3332",
    board_serial=".7B5RN32.CNFCP0098U00J1.",
    nics=("b0:7b:25:9c:11:40", "b0:7b:25:9c:11:41"),
    disks=("naa.55cd2e4151d2f9a7", "naa.55cd2e4151d301c4"),
    machine_id="7d0f5a3b9c2e4f61a8b7c6d5e4f30912",
)
"""All five facts, two values in each set."""

OTHER_SERVER = Machine(
    system_uuid="4C4C4544-0051-4A10-8033-B9C04F4D3133",
    board_serial=".9KQJ313.CNFCP0098U01A7.",
    nics=("b0:7b:25:9d:2e:08",),
    disks=("naa.55cd2e4151d4b7e2",),
    machine_id="1c9e4b7a20d84f35b6a1e3f7c0d29586",
)
"""Another of its kind: no fact in common."""


@cache
def skip_reason() -> str | None:
    """Why no machine can be made up here, or None."""
    if sys.platform != "linux":
        return "made-up machines need Linux"
    if os.geteuid() != 0:
        return "made-up machines need root"
    missing = [program for program in ("unshare", "mount", "setpriv") if shutil.which(program) is None]
    if missing:
        return f"made-up machines need {' and '.join(missing)}"
    tried = subprocess.run(
        [*_UNSHARE, "mount", "-t", "tmpfs", "made-up", "/sys/class"], capture_output=True, check=False
    )
    return None if tried.returncode == 0 else "namespaces and mounts are not allowed here"


def give_to_nobody(folder: Path) -> Path:
    """Make `folder` and all in it nobody's own, the folder itself closed to others; returns it."""
    nobody = pwd.getpwnam("nobody")
    for path in (folder, *folder.rglob("*")):
        os.chown(path, nobody.pw_uid, nobody.pw_gid, follow_symlinks=False)
    folder.chmod(0o700)
    return folder


def _as_user(user: str, reach: Sequence[Path]) -> Iterator[str]:
    """The last commands: hand the place over to `argv`, as root or as nobody."""
    become = ""
    if user == "nobody":
        nobody = pwd.getpwnam("nobody")
        become = f"setpriv --reuid={nobody.pw_uid} --regid={nobody.pw_gid} --clear-groups -- "
        yield from _reachable([Path(sys.base_prefix), Path(sys.prefix), REPOSITORY, *reach])
    # The working directory was opened before the mounts and would be a covered one.
    yield 'cd "$PWD"'
    yield f'exec {become}"$@"'


def _reachable(wanted: Sequence[Path]) -> Iterator[str]:
    """Commands that open the way to each wanted path for users who may not pass its parents (/root, pytest's folders).

    The topmost closed parent is covered with an empty folder, in which only the wanted paths are shown, each where it
    was: links, `#!` lines and library paths into them go on working.
    """
    paths = sorted({path.resolve() for path in wanted})
    covers = sorted({cover for path in paths for cover in [_closed_parent(path)] if cover is not None})
    covered = [path for path in paths if any(path.is_relative_to(cover) for cover in covers)]
    # Two steps, for a cover hides what is still to be shown.
    for number, path in enumerate(covered):
        yield f"mkdir {_HOLDER}/{number}"
        yield _bind(path, f"{_HOLDER}/{number}")
    for cover in covers:
        yield f"mount -t tmpfs -o mode=0755 made-up {shlex.quote(str(cover))}"
    for number, path in enumerate(covered):
        yield f"mkdir -p {shlex.quote(str(path))}"
        yield _bind(Path(_HOLDER, str(number)), str(path))
    for number, _ in enumerate(covered):
        yield f"umount {_HOLDER}/{number}"
        yield f"rmdir {_HOLDER}/{number}"


def _closed_parent(path: Path) -> Path | None:
    return next((parent for parent in reversed(path.parents) if not parent.stat().st_mode & 0o001), None)


def _bind(shown: Path, place: str) -> str:
    return f"mount --bind {shlex.quote(str(shown))} {shlex.quote(place)}"


def _path() -> str:
    return os.pathsep.join([str(Path(sys.prefix) / "bin"), os.environ.get("PATH", os.defpath)])


def _write(path: Path, content: str, mode: int) -> None:
    path.write_text(content + "\n", encoding="utf-8")
    path.chmod(mode)
