"""Known key material, looked for where it must not be: memory after the work, core files, files, output, tracebacks.

    python -m tests.faults.secrets_absent

The managed key, H and the data key are searched for in /proc/PID/mem of a process that has done its work and closed its
manager. The license and the host secret pass through Python objects that cannot be wiped: they are counted, and what
cannot be promised stands in tiktrue-keys-security(7).
"""

from __future__ import annotations

import os
import re
import signal
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

from tests.faults.acts import ACTS
from tests.faults.campaign import Options, Tally, ViolationError, main, scratch, watched
from tests.faults.shop import LICENSE, Shop
from tiktrue_keys.core.lifecycle import Use

_MUST_BE_GONE = ("managed key", "H")
_kept: list[object] = []


def run(options: Options, tally: Tally, go_on: Callable[[], bool]) -> None:
    """Memory, then every act's output and files."""
    shop = Shop(scratch("secrets"))
    needles = _in_a_child(lambda: _needles(shop))
    assert all(len(needle) == 32 for needle in needles.values())
    found = _memory_after_work(shop, needles, keep=options.control is not None)
    tally.cases += 1
    tally.figures["copies in memory after close"] = found
    with watched(tally, "memory"):
        left = {name: count for name, count in found.items() if count and name in _MUST_BE_GONE}
        if left:
            raise ViolationError(f"still in memory after close: {left}")
    needles["license"] = LICENSE.encode()
    with watched(tally, "core file"):
        if list(shop.base.glob("core*")):
            raise ViolationError("a core file")
    for act in ACTS:
        if not act.exists or act.bare:
            continue
        shop.restore()
        tally.cases += 1
        words = act.words(shop)
        ended = shop.run([*words, "--verbose"])
        again = shop.run([*words, "--verbose", "--json"])  # most are refused the second time: with a traceback
        with watched(tally, act.name):
            for text in (ended.output, ended.errors, again.output, again.errors):
                _must_not_hold(text.encode(), needles, "output")
            for path in shop.live.rglob("*"):
                if path.is_file() and path != shop.secret:
                    _must_not_hold(path.read_bytes(), needles, path.name)


def _must_not_hold(content: bytes, needles: dict[str, bytes], where: str) -> None:
    for name, needle in needles.items():
        for form in (needle, needle.hex().encode(), repr(needle).encode()):
            if form in content:
                raise ViolationError(f"the {name} is in {where}")


def _needles(shop: Shop) -> dict[str, bytes]:
    """The secrets, by a process that is allowed to know them."""
    with shop.manager() as manager:
        with manager.open_key("llama", LICENSE, use=Use.ENCRYPT) as opened:
            managed = bytes(opened.secret.view)
        root = bytes(manager._session.keystore.keys.root.view)
    return {"managed key": managed, "H": root, "host secret": shop.secret.read_bytes()}


def _in_a_child(work: Callable[[], dict[str, bytes]]) -> dict[str, bytes]:
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            text = " ".join(f"{name}={value.hex()}" for name, value in work().items())
            os.write(writing, text.replace("managed key", "managed_key").replace("host secret", "host_secret").encode())
        finally:
            os._exit(0)
    os.close(writing)
    with open(reading, encoding="utf-8") as pipe:
        pairs = [pair.partition("=") for pair in pipe.read().split()]
    os.waitpid(child, 0)
    return {name.replace("_", " "): bytes.fromhex(value) for name, _, value in pairs}


def _memory_after_work(shop: Shop, needles: dict[str, bytes], *, keep: bool) -> dict[str, int]:
    """How often each needle is in the memory of a fresh interpreter that has worked and closed."""
    reading, writing = os.pipe()
    os.set_inheritable(writing, True)
    child = os.fork()
    if child == 0:
        # A fresh interpreter: this one's memory, which knows the needles, does not come along.
        words = ["--work", str(shop.keystore), str(shop.secret), str(writing), "keep" if keep else ""]
        os.execve(sys.executable, [sys.executable, "-m", "tests.faults.secrets_absent", *words], dict(os.environ))
    os.close(writing)
    try:
        if os.read(reading, 1) != b".":
            raise ViolationError("the worker died")
        memory = _memory_of(child)
        return {name: memory.count(needle) for name, needle in needles.items()}
    finally:
        os.close(reading)
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)


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


def _work(keystore: str, secret: str, acknowledge: str, keep: str) -> NoReturn:
    """What a program does with a manager: open, encrypt, rotate, close; then it waits to be looked at."""
    from tests.faults import facts
    from tiktrue_keys.core.derivation import PBKDF2_MIN_ROUNDS
    from tiktrue_keys.core.manager import KeyManager
    from tiktrue_keys.models.encrypt import encrypt_model

    facts.become(facts.FIVE)
    try:
        with KeyManager(keystore, host_secret_file=secret, pbkdf2_rounds=PBKDF2_MIN_ROUNDS) as manager:
            with manager.open_key("llama", LICENSE, use=Use.ENCRYPT) as opened:
                if keep:
                    _kept.append(bytes(opened.secret.view))
            folder = Path(keystore).parent / "models"
            encrypt_model(manager, folder / "plain.bin", folder / "more.ttm", key="llama", license_key=LICENSE)
            manager.rotate(["mistral"], license_key=LICENSE)
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
