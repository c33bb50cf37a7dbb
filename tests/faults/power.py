"""Power cuts: ext4 and xfs on a loop device, shut down under the program without flushing their log, mounted again.

    python -m tests.faults.power --only ext4 --count 1000

Acknowledgements are kept on another file system; after each cut all of them must still be true. What lies on the file
system that is cut changes: everything, the keystore alone, the host secret and its marks alone, the models alone.
"""

from __future__ import annotations

import fcntl
import os
import random
import select
import shutil
import signal
import struct
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import NoReturn

from tests.faults import facts, mounts
from tests.faults.campaign import Options, Tally, ViolationError, break_it, main, scratch, watched
from tiktrue_keys.core.derivation import PBKDF2_MIN_ROUNDS
from tiktrue_keys.core.durable import read_capped
from tiktrue_keys.core.manager import KeyManager
from tiktrue_keys.errors import RevokedError, TikTrueKeysError

_SHUTDOWN = 0x8004587D
_NO_LOG_FLUSH = struct.pack("I", 2)
_LICENSE = "a license, made up for tests"
_CYCLES_AN_IMAGE = 40
_LAYOUTS = {"all": ("keys", "host", "models"), "keys": ("keys",), "host": ("host",), "models": ("models",)}
CONTROLS = ("synchronous-normal", "no-folder-sync", "unsynced-files")
_FOLDER = ("a.bin", "b.bin", "c.bin", "deep/d.bin")


@dataclass
class Acknowledged:
    """What the program said was done, kept where no power is cut."""

    keys: set[str] = field(default_factory=set)
    rotated: dict[str, str] = field(default_factory=dict)
    revoked: set[str] = field(default_factory=set)
    files: set[str] = field(default_factory=set)
    count: int = 0

    def take(self, line: str) -> None:
        """One line of a worker."""
        self.count += 1
        operation, *words = line.split("\t")
        if operation == "generate":
            self.keys.add(words[0])
        elif operation == "rotate":
            self.rotated[words[0]] = words[1]
        elif operation == "revoke":
            self.revoked.add(words[0])
        elif words:
            self.files.add(words[0])


class Machine:
    """A file system to cut the power of, and one that stays on; `layout` says what lies on the first."""

    def __init__(self, base: Path, kind: str, layout: str) -> None:
        self.kind = kind
        self.layout = layout
        self._image = base / "image"
        self._cut = base / "cut"
        self._kept = base / "kept"
        for folder in (self._cut, self._kept):
            folder.mkdir(parents=True)
        mounts.make_image(self._image, kind)
        self.mount()
        for name in ("host", "models"):
            self._place(name).mkdir(mode=0o700)
        (self.models / "plain.bin").write_bytes(os.urandom(5_000))
        (self.source / "deep").mkdir(parents=True)
        for name in _FOLDER:
            (self.source / name).write_bytes(os.urandom(5_000))
        os.sync()

    @property
    def models(self) -> Path:
        """Where containers are made."""
        return self._place("models")

    @property
    def source(self) -> Path:
        """A folder of models."""
        return self.models / "source"

    def manager(self) -> KeyManager:
        """A manager of its keystore."""
        secret = self._place("host") / "secret"
        return KeyManager(self._place("keys"), host_secret_file=secret, pbkdf2_rounds=PBKDF2_MIN_ROUNDS)

    def mount(self) -> None:
        """Switch it on."""
        mounts.mount_image(self._image, self._cut)

    def unmount(self) -> None:
        """Take the file system away, cut or not."""
        mounts.unmount(self._cut)

    def cut(self) -> None:
        """Cut the power: nothing that is only in memory reaches the device any more."""
        descriptor = os.open(self._cut, os.O_RDONLY | os.O_DIRECTORY)
        try:
            fcntl.ioctl(descriptor, _SHUTDOWN, _NO_LOG_FLUSH)
        finally:
            os.close(descriptor)

    def _place(self, name: str) -> Path:
        return (self._cut if name in _LAYOUTS[self.layout] else self._kept) / name


def run(options: Options, tally: Tally, go_on: Callable[[], bool]) -> None:
    """`count` cuts, half of them as soon as an operation is acknowledged, half at any instant."""
    mounts.enter()
    facts.become(facts.FIVE)
    folder = scratch("power")
    kinds = options.only or mounts.kinds()
    tally.figures["file systems"] = list(kinds)
    _break(options.control)
    cut = {"synchronous-normal": ["keys"], "no-folder-sync": ["models"], "unsynced-files": ["models"]}
    layouts = cut.get(options.control or "", list(_LAYOUTS))
    chooser = options.random(options.part)
    number = 0
    while go_on():
        kind, layout = kinds[number % len(kinds)], layouts[(number // len(kinds)) % len(layouts)]
        with _machine(folder / str(number), kind, layout) as machine:
            known = Acknowledged()
            cycles = min(_CYCLES_AN_IMAGE, max(5, options.count // (len(kinds) * len(layouts))))
            for _ in range(cycles):
                if not go_on():
                    break
                tally.cases += 1
                tally.counts[f"{kind} {layout}"] += 1
                before = known.count
                _one_cut(machine, known, chooser)
                tally.counts["acknowledged"] += known.count - before
                with watched(tally, f"{kind}, {layout} on it, cut {tally.cases}"):
                    _must_all_be_true(machine, known)
        number += 1


@contextmanager
def _machine(base: Path, kind: str, layout: str) -> Iterator[Machine]:
    machine = Machine(base, kind, layout)
    try:
        yield machine
    finally:
        machine.unmount()
        shutil.rmtree(base)


def _one_cut(machine: Machine, known: Acknowledged, chooser: random.Random) -> None:
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reading)
        _work(machine, known, writing, chooser.randrange(1 << 30))
    os.close(writing)
    at_once = chooser.random() < 0.5
    wanted = chooser.randrange(1, 5) if at_once else chooser.randrange(0, 4)
    told = b""
    while told.count(b"\n") < wanted:
        piece = os.read(reading, 4096)
        if not piece:
            break
        told += piece
    if not at_once:
        select.select([], [], [], chooser.random() * 0.06)
    machine.cut()
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    while piece := os.read(reading, 4096):
        told += piece
    os.close(reading)
    for line in told.decode().splitlines():
        if line.startswith("error"):
            continue  # an operation that the cut interrupted
        known.take(line)
    machine.unmount()
    machine.mount()


def _work(machine: Machine, known: Acknowledged, acknowledge: int, seed: int) -> NoReturn:
    """Operation after operation, each acknowledged when it has returned; ends in a kill."""
    try:
        chooser = random.Random(seed)
        manager = machine.manager()
        while True:
            try:
                line = _operation(machine, manager, known, chooser)
            except TikTrueKeysError as error:
                line = f"error\t{type(error).__name__}"
                time.sleep(0.005)
            os.write(acknowledge, line.encode() + b"\n")
            if not line.startswith("error"):
                known.take(line)
    except BaseException as error:  # noqa: BLE001  nothing of the child may run on in the parent's code
        traceback.print_exception(error)
    finally:
        os._exit(1)


def _operation(machine: Machine, manager: KeyManager, known: Acknowledged, chooser: random.Random) -> str:
    from tiktrue_keys.models.file.encrypt import encrypt_model
    from tiktrue_keys.models.file.rewrap import rewrap_registered
    from tiktrue_keys.models.folder.decrypt import decrypt_folder
    from tiktrue_keys.models.folder.encrypt import encrypt_folder
    from tiktrue_keys.models.folder.request import FolderRequest

    live = sorted(known.keys - known.revoked - set(known.rotated))
    choice = chooser.random()
    if not live or choice < 0.3:
        name = f"m{chooser.randrange(10**12)}"
        return f"generate\t{manager.generate(name, license_key=_LICENSE).keys[0].key_id}"
    key = chooser.choice(live)
    if choice < 0.5:
        rotation = manager.rotate([key], license_key=_LICENSE).rotations[0]
        return f"rotate\t{key}\t{rotation.new.key_id if rotation.new else ''}"
    if choice < 0.6:
        manager.revoke([key], reason="a test")
        return f"revoke\t{key}"
    if choice < 0.65:
        rewrap_registered(manager, license_key=_LICENSE)
        return "rewrap"
    output = machine.models / f"{chooser.randrange(10**12)}.ttm"
    if choice < 0.8:
        encrypt_folder(manager, FolderRequest(machine.source, output, key=key, license_key=_LICENSE))
        decrypt_folder(manager, output, output.with_suffix(".out"), license_key=_LICENSE)
        return f"encrypt-folder\t{output.name}"
    encrypt_model(manager, machine.models / "plain.bin", output, key=key, license_key=_LICENSE)
    return f"encrypt\t{output.name}"


def _must_all_be_true(machine: Machine, known: Acknowledged) -> None:
    from tiktrue_keys.models.file.verify import verify_model

    with machine.manager() as manager:
        if not manager.exists():
            if known.count:
                raise ViolationError("the keystore is gone")
            return
        try:
            keys = {str(check.key.key_id): check.key for check in manager.validate(deep=True).checks}
            manager.audit_verify()
            lost = [key for key in known.keys if key not in keys]
            lost += [new for old, new in known.rotated.items() if old in keys and keys[old].successor != new]
            lost += [key for key in known.revoked if key in keys and keys[key].revoked_at is None]
            for name in known.files:
                path = machine.models / name
                if not path.exists():
                    lost.append(name)
                elif path.is_file() and read_capped(path, mounts.MEGABYTE, "a container"):
                    with suppress(RevokedError):
                        verify_model(manager, path, license_key=_LICENSE, allow_deprecated=True)
            _folders_must_be_whole(machine, manager)
        except TikTrueKeysError as error:
            raise ViolationError(f"{type(error).__name__}: {error}") from error
    if lost:
        raise ViolationError(f"acknowledged and lost: {lost}")


def _folders_must_be_whole(machine: Machine, manager: KeyManager) -> None:
    """Every folder that has its name is whole, also one whose operation was not acknowledged."""
    from tiktrue_keys.models.folder.verify import verify_folder

    for folder in machine.models.glob("*.ttm/"):
        with suppress(RevokedError):
            verify_folder(manager, folder, license_key=_LICENSE, allow_deprecated=True)
    for folder in machine.models.glob("*.out/"):
        for name in _FOLDER:
            made = folder / name
            if not made.exists() or made.read_bytes() != (machine.source / name).read_bytes():
                raise ViolationError(f"{folder.name} has its name, and {name} is not whole")


def _break(control: str | None) -> None:
    if control == "synchronous-normal":
        from tiktrue_keys.core.keystore import database

        pragmas = tuple(pragma.replace("= EXTRA", "= NORMAL") for pragma in database._PRAGMAS)
        break_it(database, "_PRAGMAS", pragmas)
    elif control == "no-folder-sync":
        from tiktrue_keys.core import durable

        break_it(durable, "sync_folder_fd", lambda fd: None)
    elif control == "unsynced-files":
        from tiktrue_keys.models.storage import unsynced

        break_it(unsynced, "overlapped", lambda work, items: None)


if __name__ == "__main__":
    main(Path(__file__).stem, run, count=40, skip=mounts.skip_reason, controls=CONTROLS, only=list(mounts.SIZES))
