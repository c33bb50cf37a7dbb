"""Many at once: 32 processes of 20 mixed operations, 8 threads in one KeyManager, an event loop.

    python -m tests.faults.crowd --count 32

Nobody's update is lost, nobody sees "database is locked", and with --bars nobody waits longer than five seconds for an
operation.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import random
import threading
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.faults import facts
from tests.faults.campaign import Options, Tally, ViolationError, break_it, main, scratch, watched
from tiktrue_keys.core.derivation import PBKDF2_MIN_ROUNDS
from tiktrue_keys.core.manager import KeyManager
from tiktrue_keys.errors import TikTrueKeysError

_LICENSE = "a license, made up for tests"
_OPERATIONS = 20
_LONGEST_WAIT = 5.0


class Keystore:
    """One keystore, and what was done to it by whom."""

    def __init__(self, base: Path) -> None:
        facts.become(facts.FIVE)
        base.mkdir(parents=True)
        self.base = base
        with self.manager() as manager:
            manager.generate("shared", license_key=_LICENSE)

    def manager(self, clock: Callable[[], float] = time.time) -> KeyManager:
        """A manager with a connection of its own."""
        return KeyManager(
            self.base / "keys",
            host_secret_file=self.base / "host/secret",
            pbkdf2_rounds=PBKDF2_MIN_ROUNDS,
            lock_timeout=300,
            clock=clock,
        )


def run(options: Options, tally: Tally, go_on: Callable[[], bool]) -> None:
    """Processes, then threads, then tasks."""
    folder = scratch("crowd")
    if options.control is not None:
        _CONTROLS[options.control]()
    only = options.only or ("processes", "threads", "tasks")
    kinds: dict[str, Callable[[Keystore, int, Options], list[dict[str, Any]]]] = {
        "processes": _processes,
        "threads": _threads,
        "tasks": _tasks,
    }
    for name in only:
        keystore = Keystore(folder / name)
        many = options.count if name == "processes" else 8
        begun = time.monotonic()
        with watched(tally, name):
            done = kinds[name](keystore, many, options)
            tally.cases += len(done)
            waits = sorted(entry["wait"] for entry in done)
            tally.figures[name] = {
                "workers": many,
                "acts": len(done),
                "seconds": round(time.monotonic() - begun, 2),
                "median wait": round(waits[len(waits) // 2], 3),
                "worst wait": round(waits[-1], 3),
            }
            _judge(keystore, done)
            if options.bars and waits[-1] > _LONGEST_WAIT:
                raise ViolationError(f"somebody waited {waits[-1]:.1f} s")


def _judge(keystore: Keystore, done: list[dict[str, Any]]) -> None:
    failed = [entry for entry in done if entry["error"]]
    if failed:
        raise ViolationError(f"{len(failed)} operations failed: {failed[:3]}")
    with keystore.manager() as manager:
        keys = {check.key.key_id: check.key for check in manager.validate(deep=True).checks}
        manager.audit_verify()
        records = [(record.event, record.outcome) for record in manager.audit_records()]
    for entry in done:
        if entry["act"] in ("generate", "rotate") and entry["made"] not in keys:
            raise ViolationError(f"lost: {entry}")
        if entry["act"] == "revoke" and keys[entry["made"]].revoked_at is None:
            raise ViolationError(f"lost: {entry}")
    for operation in ("generate", "rotate", "revoke"):
        told = sum(entry["act"] == operation for entry in done) + (operation == "generate")
        if records.count((operation, "ok")) != told:
            raise ViolationError(f"{records.count((operation, 'ok'))} records of {operation}, {told} operations")
    shared = sorted(key.generation for key in keys.values() if key.model_id == "shared")
    if shared != list(range(1, len(shared) + 1)):
        raise ViolationError(f"the shared chain has generations {shared}")


def _one(manager: KeyManager, chooser: random.Random, worker: int, number: int) -> dict[str, Any]:
    """One operation; how long it took, and what came of it."""
    begun = time.monotonic()
    choice, made, error, operation = chooser.random(), "", "", "read"
    try:
        if choice < 0.35:
            operation = "generate"
            made = manager.generate(f"w{worker}-{number}", license_key=_LICENSE).keys[0].key_id
        elif choice < 0.6:
            operation = "rotate"
            new = manager.rotate(["shared"], license_key=_LICENSE).rotations[0].new
            made = new.key_id if new else ""
        elif choice < 0.7:
            operation = "revoke"
            own, keys = f"w{worker}-", manager.keys()
            mine = [key.key_id for key in keys if key.model_id.startswith(own) and not key.revoked_at]
            if mine:
                manager.revoke([mine[0]], reason="a test")
                made = mine[0]
            else:
                operation = "read"
        else:
            assert manager.find("shared").model_id == "shared"
            assert len(list(manager.keys())) >= 1
    except TikTrueKeysError as problem:
        error = f"{type(problem).__name__}: {problem}"
    return _entry(operation, made, begun, error)


def _entry(operation: str, made: str, begun: float, error: str = "") -> dict[str, Any]:
    return {"act": operation, "made": made, "error": error, "wait": time.monotonic() - begun}


def _processes(keystore: Keystore, many: int, options: Options) -> list[dict[str, Any]]:
    pipes = []
    for worker in range(many):
        reading, writing = os.pipe()
        if os.fork() == 0:
            os.close(reading)
            _worker(keystore, worker, options.seed, writing)
        os.close(writing)
        pipes.append(reading)
    done: list[dict[str, Any]] = []
    for reading in pipes:
        with open(reading, encoding="utf-8") as pipe:
            done += [json.loads(line) for line in pipe]
    for _ in range(many):
        os.wait()
    if len(done) != many * _OPERATIONS:
        raise ViolationError(f"{len(done)} operations of {many * _OPERATIONS}: workers died")
    return done


def _worker(keystore: Keystore, worker: int, seed: int, writing: int) -> None:
    try:
        chooser = random.Random(f"{seed} {worker}")
        with keystore.manager() as manager, open(writing, "w", encoding="utf-8") as pipe:
            pipe.writelines(json.dumps(_one(manager, chooser, worker, number)) + "\n" for number in range(_OPERATIONS))
    except BaseException:  # noqa: BLE001  nothing of the child may run on in the parent's code
        traceback.print_exc()
    finally:
        os._exit(0)


def _threads(keystore: Keystore, many: int, options: Options) -> list[dict[str, Any]]:
    done: list[dict[str, Any]] = []
    manager = keystore.manager()

    def work(worker: int) -> None:
        chooser = random.Random(f"{options.seed} {worker}")
        done.extend([_one(manager, chooser, worker, number) for number in range(_OPERATIONS)])

    threads = [threading.Thread(target=work, args=(worker,)) for worker in range(many)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    manager.close()
    if len(done) != many * _OPERATIONS:
        raise ViolationError(f"{len(done)} operations of {many * _OPERATIONS}: a thread died")
    return done


def _tasks(keystore: Keystore, many: int, options: Options) -> list[dict[str, Any]]:
    """The async names; meanwhile the loop must go on turning, and no operation may take place in its thread."""
    stalls: list[float] = []
    in_the_loop: list[float] = []

    def clock() -> float:
        """Every operation asks what time it is."""
        now = time.time()
        if threading.current_thread() is threading.main_thread():
            in_the_loop.append(now)
        return now

    async def heartbeat(stop: asyncio.Event) -> None:
        while not stop.is_set():
            begun = time.monotonic()
            await asyncio.sleep(0.01)
            stalls.append(time.monotonic() - begun)

    async def work(manager: KeyManager, name: str) -> list[dict[str, Any]]:
        """A key of its own, rotated again and again and revoked: rotations of one key must follow each other."""
        begun = time.monotonic()
        made = (await asyncio.to_thread(manager.generate, name, license_key=_LICENSE)).keys[0]
        done = [_entry("generate", made.key_id, begun)]
        for _ in range(_OPERATIONS - 2):
            begun = time.monotonic()
            made = await manager.rotate_key(made.key_id, _LICENSE)
            done.append(_entry("rotate", made.key_id, begun))
        begun = time.monotonic()
        await manager.revoke_key(made.key_id, "a test")
        return [*done, _entry("revoke", made.key_id, begun)]

    async def everything() -> list[dict[str, Any]]:
        stop = asyncio.Event()
        beating = asyncio.create_task(heartbeat(stop))
        with keystore.manager(clock) as manager:
            tasks = (work(manager, f"task-{number}") for number in range(many))
            ended = await asyncio.gather(*tasks, return_exceptions=True)
        stop.set()
        await beating
        done = [entry for entries in ended if not isinstance(entries, BaseException) for entry in entries]
        if len(done) != many * _OPERATIONS:
            failed = [each for each in ended if isinstance(each, BaseException)]
            raise ViolationError(f"{len(failed)} tasks failed: {failed[:3]}")
        return done

    done = asyncio.run(everything())
    if in_the_loop or (options.bars and max(stalls) > 1.0):
        raise ViolationError(
            f"the loop stood still for {max(stalls):.2f} s; it was asked for the time {len(in_the_loop)} times"
        )
    return done


def _without_lock() -> None:
    """No writers' lock and no waiting for SQLite's: somebody must be told that it is busy."""
    from tiktrue_keys.core.keystore import database, store

    connect = database.connect
    break_it(database, "connect", lambda path, *, timeout: connect(path, timeout=0.0))
    break_it(store, "writers_lock", lambda *_, **__: contextlib.nullcontext())


class _NoGuard(contextlib.nullcontext[None]):
    """A lock that keeps nothing out."""

    def acquire(self, blocking: bool = True) -> bool:
        """Say that it is held."""
        return True

    def release(self) -> None:
        """Nothing."""


def _without_guard() -> None:
    """The threads of one manager use its connection all at once: some of their operations must fail."""
    from tiktrue_keys.core.session import KeystoreSession

    begin = KeystoreSession.__init__

    def unguarded(self: KeystoreSession, *given: Any, **named: Any) -> None:
        begin(self, *given, **named)
        break_it(self, "guard", _NoGuard())

    break_it(KeystoreSession, "__init__", unguarded)


_CONTROLS = {"no-lock": _without_lock, "no-guard": _without_guard}
"""What each must be seen in: no-lock in processes, no-guard in threads and in tasks, which have one manager."""


if __name__ == "__main__":
    main(Path(__file__).stem, run, count=32, controls=tuple(_CONTROLS), only=("processes", "threads", "tasks"))
