"""Known key material, looked for where it must not be: memory after the work, core files, files, output, tracebacks.

    python -m tests.faults.secrets_absent

The managed key, H, a data key and the host secret are searched for in /proc/PID/mem of a process that has done its work
and closed its manager, in the core file of one that dies in the middle of it, in all that an operation writes and says,
and in the traceback of a bug in it. What cannot be promised (the license as text, the working keys inside the cipher
library) stands in tiktrue-keys-security(7).
"""

from __future__ import annotations

import base64
import os
import re
import resource
import signal
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

from tests.faults import traced
from tests.faults.campaign import Options, Tally, ViolationError, break_it, main, scratch, watched
from tests.faults.operations import OPERATIONS, Operation
from tests.faults.shop import LICENSE, Shop
from tiktrue_keys.core.keys.lifecycle import Use

_kept: list[object] = []


def run(options: Options, tally: Tally, go_on: Callable[[], bool]) -> None:
    """Memory and a core file, then every operation's output, files and traceback."""
    shop = Shop(scratch("secrets"))
    needles = _in_a_child(lambda: _needles(shop))
    assert all(len(needle) == 32 for needle in needles.values())
    keep = options.control is not None
    for what, look in (("memory after close", _memory_after_work), ("core file", _core_of_a_crash)):
        shop.restore()
        tally.cases += 1
        content = look(shop, keep=keep)
        if content is None:
            tally.figures[f"copies in {what}"] = "none was written here: see kernel.core_pattern"
            continue
        found = {name: content.count(needle) for name, needle in needles.items()}
        tally.figures[f"copies in {what}"] = found
        with watched(tally, what):
            if any(found.values()):
                raise ViolationError(f"left: {found}")
    needles["license"] = LICENSE.encode()
    for operation in OPERATIONS:
        if operation.exists and not operation.bare and go_on():
            tally.cases += 1
            with watched(tally, operation.name):
                _operation(shop, operation, needles)
                _bug_in(shop, operation, needles, tally)


def _operation(shop: Shop, operation: Operation, needles: dict[str, bytes]) -> None:
    shop.restore()
    words = operation.words(shop)
    ended = shop.run([*words, "--verbose"])
    if ended.code != 0:
        raise ViolationError(f"what says nothing hides nothing: exit {ended.code} and {ended.errors[-300:]!r}")
    again = shop.run([*words, "--verbose", "--json"])  # most are refused the second time
    for text in (ended.output, ended.errors, again.output, again.errors):
        _must_not_hold(text.encode(), needles, "output")
    for path in shop.base.rglob("*"):
        if path.is_file() and path.name != shop.secret.name and shop.licenses not in path.parents:
            _must_not_hold(path.read_bytes(), needles, path.name)


def _bug_in(shop: Shop, operation: Operation, needles: dict[str, bytes], tally: Tally) -> None:
    """The operation falls over where it would be recorded, with every secret that it has opened in reach."""
    from tiktrue_keys.core.keystore.transaction import Transaction

    def fall_over(*_: object, **__: object) -> None:
        raise ZeroDivisionError("a bug")

    def work() -> int:
        break_it(Transaction, "record", fall_over)
        return traced.program([*words, "--verbose"])()

    shop.restore()
    words = operation.words(shop)
    ended = traced.forked(work, shop.environment)
    if ended.code == 0 and operation.moved:
        return  # nothing to do on a machine that is the same
    if ended.code != 1 or "ZeroDivisionError" not in ended.errors or "in fall_over" not in ended.errors:
        raise ViolationError(f"a bug under --verbose gives exit {ended.code} and {ended.errors[-300:]!r}")
    tally.counts["tracebacks"] += 1
    for text in (ended.output, ended.errors):
        _must_not_hold(text.encode(), needles, "a traceback")


def _must_not_hold(content: bytes, needles: dict[str, bytes], where: str) -> None:
    for name, needle in needles.items():
        encoded = (needle, needle.hex().encode(), base64.b64encode(needle).rstrip(b"="), repr(needle).encode())
        if any(form in content for form in encoded):
            raise ViolationError(f"the {name} is in {where}")


def _needles(shop: Shop) -> dict[str, bytes]:
    """The secrets, by a process that is allowed to know them."""
    with shop.manager() as manager:
        with manager.open_key("llama", LICENSE, use=Use.ENCRYPT) as opened:
            managed = bytes(opened.secret.view)
            data_key = _data_key_of(shop.models / "llama.ttm", opened.secret.view)
        root = bytes(manager._session.keystore.keys.root.view)
    return {"managed key": managed, "H": root, "data key": data_key, "host secret": shop.secret.read_bytes()}


def _data_key_of(path: Path, managed: memoryview) -> bytes:
    from tiktrue_keys.models.container.container import read_container
    from tiktrue_keys.models.format.wraps import unwrap_data_key

    with open(path, "rb") as file:
        header = read_container(file.fileno()).header
    with unwrap_data_key(header.wraps[0], managed, file_id=header.file_id, model_id=header.model_id) as data_key:
        return bytes(data_key.view)


def _in_a_child(work: Callable[[], dict[str, bytes]]) -> dict[str, bytes]:
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.write(writing, "\n".join(f"{name}={value.hex()}" for name, value in work().items()).encode())
        finally:
            os._exit(0)
    os.close(writing)
    with open(reading, encoding="utf-8") as pipe:
        pairs = [line.partition("=") for line in pipe.read().splitlines()]
    os.waitpid(child, 0)
    return {name: bytes.fromhex(value) for name, _, value in pairs}


def _memory_after_work(shop: Shop, *, keep: bool) -> bytes:
    """The memory of a fresh interpreter that has worked and closed."""
    reading, writing = os.pipe()
    os.set_inheritable(writing, True)
    child = _worker(shop, str(writing), "close", keep=keep)
    os.close(writing)
    try:
        if os.read(reading, 1) != b".":
            raise ViolationError("the worker died")
        return _memory_of(child)
    finally:
        os.close(reading)
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)


def _core_of_a_crash(shop: Shop, *, keep: bool) -> bytes | None:
    """The core file of one that dies with a key and a model open; None where the system writes none."""
    os.waitpid(_worker(shop, "-1", "crash", keep=keep), 0)
    cores = list(shop.live.glob("core*"))
    if not cores:
        return None
    content = cores[0].read_bytes()
    if b"license, made up for tests" not in content:  # which is in every process that knows it
        raise ViolationError("a core file without what the process held")
    return content


def _worker(shop: Shop, acknowledge: str, end: str, *, keep: bool) -> int:
    child = os.fork()
    if child == 0:
        # A fresh interpreter: this one's memory, which knows the needles, does not come along.
        words = ["--work", str(shop.live), acknowledge, end, "keep" if keep else ""]
        os.execve(sys.executable, [sys.executable, "-m", "tests.faults.secrets_absent", *words], dict(os.environ))
    return child


def _memory_of(process: int) -> bytes:
    """All writable memory of a process."""
    parts = []
    maps = Path(f"/proc/{process}/maps").read_text()
    with open(f"/proc/{process}/mem", "rb", buffering=0) as memory:
        for line in maps.splitlines():
            match = re.match(r"([0-9a-f]+)-([0-9a-f]+) rw", line)
            if match is None or "[v" in line:
                continue
            begin, end = int(match[1], 16), int(match[2], 16)
            try:
                memory.seek(begin)
                parts.append(memory.read(end - begin))
            except OSError:
                continue
    return b"\0".join(parts)


def _work(live: str, acknowledge: str, end: str, keep: str) -> NoReturn:
    """What a program does with a manager: open, encrypt, decrypt, rotate; then it closes and waits, or crashes."""
    from tests.faults import facts
    from tiktrue_keys.core.derivation import PBKDF2_MIN_ROUNDS
    from tiktrue_keys.core.manager import KeyManager
    from tiktrue_keys.models.file.decrypt import decrypt_model
    from tiktrue_keys.models.file.encrypt import encrypt_model
    from tiktrue_keys.models.file.open import open_model

    facts.become(facts.FIVE)
    folder = Path(live, "models")
    try:
        with KeyManager(
            f"{live}/keys", host_secret_file=f"{live}/host/secret", pbkdf2_rounds=PBKDF2_MIN_ROUNDS
        ) as manager:
            with manager.open_key("llama", LICENSE, use=Use.ENCRYPT) as opened:
                if keep:
                    _kept.append(bytes(opened.secret.view))
            encrypt_model(manager, folder / "plain.bin", folder / "more.ttm", key="llama", license_key=LICENSE)
            decrypt_model(manager, folder / "llama.ttm", folder / "again.bin", license_key=LICENSE)
            manager.rotate(["mistral"], license_key=LICENSE)
            with open_model(folder / "llama.ttm", manager, LICENSE) as model:
                model.read(100)
                if end == "crash":
                    os.chdir(live)
                    resource.setrlimit(resource.RLIMIT_CORE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
                    os.abort()
        os.write(int(acknowledge), b".")
        signal.pause()
    except BaseException:  # noqa: BLE001  the parent sees that the pipe ends
        traceback.print_exc()
    os._exit(1)


def skip_reason() -> str | None:
    """Why no memory can be looked at here, or None."""
    return (
        None
        if sys.platform == "linux" and os.geteuid() == 0
        else "reading another process's memory needs Linux and root"
    )


if __name__ == "__main__":
    if sys.argv[1:2] == ["--work"]:
        _work(*sys.argv[2:6])
    main(Path(__file__).stem, run, count=100, skip=skip_reason, controls=("key-kept",))
