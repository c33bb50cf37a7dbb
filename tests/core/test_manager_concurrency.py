"""Several processes and threads on one keystore: no lost update, nobody told that it is locked, a log that verifies."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from tests.keystores import LICENSE, Desk, error_of, models
from tests.program import unmeasured
from tests.waiting import PATIENCE
from tiktrue_keys.core.names import new_operation_id
from tiktrue_keys.errors import BusyError

PROCESSES = 6
LONG = 300  # seconds to wait for the others on the slowest machine
OPERATIONS = 10
THREADS = 8


WORKER = """
import json, sys
from tiktrue_keys.core.manager import KeyManager
from tiktrue_keys.errors import RefusedError

folder, secret, license_key, number, operations = sys.argv[1:]
manager = KeyManager(folder, host_secret_file=secret, pbkdf2_rounds=100_000, lock_timeout=300)
done = []

def operate(name, *call, **options):
    try:
        getattr(manager, name)(*call, **options)
        done.append(name)
    except RefusedError:
        done.append("refused")

own = f"process-{number}"
operate("generate", own, license_key=license_key)
for turn in range(int(operations) - 3):
    if turn % 3 == 2:
        operate("rotate", ["shared"], license_key=license_key)
    else:
        operate("rotate", [own], license_key=license_key)
operate("revoke", [own], reason="done")
operate("generate", own, license_key=license_key)
print(json.dumps(done))
manager.close()
"""


def test_processes(desk: Desk) -> None:
    desk.manager().generate("shared", license_key=LICENSE)
    desk.close()
    environment = {**unmeasured(), "PYTHONPATH": str(Path(__file__).parents[2])}
    workers = [
        subprocess.Popen(
            [sys.executable, "-c", WORKER, desk.folder, desk.secret, LICENSE, str(number), str(OPERATIONS)],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for number in range(PROCESSES)
    ]
    told = [worker.communicate(timeout=LONG) for worker in workers]
    assert [stderr for _, stderr in told] == [""] * PROCESSES
    results = [json.loads(stdout) for stdout, _ in told]
    operations = [name for result in results for name in result]
    assert len(operations) == PROCESSES * OPERATIONS
    assert "refused" not in operations
    manager = desk.manager()
    shared = 2 * PROCESSES  # of seven turns two
    assert manager.find("shared").generation == 1 + shared
    own = OPERATIONS - 3 - 2
    for number in range(PROCESSES):
        assert manager.find(f"process-{number}").generation == 1
        revoked = [key for key in list(manager.keys()) if key.model_id == f"process-{number}" and key.revoked_at]
        assert [key.generation for key in revoked] == [1 + own]
    assert manager.audit_verify() == 3 + len(operations)
    assert manager.validate(deep=True).audit_size == 3 + len(operations)


def test_processes_that_all_want_to_make_the_keystore(desk: Desk) -> None:
    environment = {**unmeasured(), "PYTHONPATH": str(Path(__file__).parents[2])}
    program = (
        "import sys; from tiktrue_keys.core.manager import KeyManager;"
        "m = KeyManager(sys.argv[1], host_secret_file=sys.argv[2], pbkdf2_rounds=100_000, lock_timeout=300);"
        "print(m.generate(sys.argv[3], license_key=sys.argv[4]).created_keystore); m.close()"
    )
    workers = [
        subprocess.Popen(
            [sys.executable, "-c", program, desk.folder, desk.secret, f"model-{number}", LICENSE],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for number in range(4)
    ]
    told = [worker.communicate(timeout=LONG) for worker in workers]
    assert [stderr for _, stderr in told] == [""] * 4
    assert sorted(stdout.strip() for stdout, _ in told) == ["False", "False", "False", "True"]
    assert models(desk.manager()) == [f"model-{number}" for number in range(4)]
    assert len(list(desk.secret.parent.glob("*.mark"))) == 1


def test_who_comes_second_to_make_the_keystore_uses_the_firsts(desk: Desk) -> None:
    slow = desk.manager(pbkdf2_rounds=5_000_000)
    made: list[bool] = []
    thread = threading.Thread(target=lambda: made.append(slow.generate("slow", license_key=LICENSE).created_keystore))
    thread.start()
    time.sleep(0.1)  # it has seen that there is none and stretches the license
    made.append(desk.manager().generate("quick", license_key=LICENSE).created_keystore)
    thread.join()
    assert made == [True, False]
    assert models(slow) == ["quick", "slow"]


@pytest.mark.parametrize("shared", [True, False], ids=["one manager", "a manager each"])
def test_threads(desk: Desk, shared: bool) -> None:
    first = desk.manager(lock_timeout=LONG)
    first.generate("shared", license_key=LICENSE)
    errors: list[BaseException] = []

    def work(number: int) -> None:
        manager = first if shared else desk.manager(lock_timeout=LONG)
        try:
            manager.generate(f"thread-{number}", license_key=LICENSE)
            for _ in range(3):
                manager.rotate(["shared"], license_key=LICENSE)
                assert manager.find(f"thread-{number}").generation == 1
                assert len(list(manager.audit_records())) > 3
            manager.revoke([f"thread-{number}"], reason="done")
        except BaseException as error:  # noqa: BLE001  told by the test
            errors.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert first.find("shared").generation == 1 + 3 * THREADS
    assert first.audit_verify() == 3 + THREADS * 5


def test_a_reader_sees_one_state_from_its_first_look_to_its_last(desk: Desk) -> None:
    manager, other = desk.manager(), desk.manager(lock_timeout=0.1)
    manager.generate("llama", license_key=LICENSE)
    with manager._session.read() as (view, _):
        before = view.audit.size
        busy = error_of(lambda: other.rotate(["llama"], license_key=LICENSE))
        assert view.audit.size == before == 3
        assert view.audit.get(before - 1).event == "generate"
    assert busy is None or isinstance(busy, BusyError)
    other.rotate(["llama"], license_key=LICENSE)
    assert manager.find("llama").generation == (2 if busy else 3)


def test_a_reader_beside_a_writer_may_use_the_secrets(desk: Desk) -> None:
    """The writer cannot commit before the reader's snapshot ends: the reader must not wait for the writer in it."""
    manager = desk.manager()
    manager.generate("llama", license_key=LICENSE)
    session = manager.session
    writing, reading, used = threading.Event(), threading.Event(), threading.Event()

    def read() -> None:
        assert writing.wait(PATIENCE)
        with session.read() as (view, _):
            reading.set()
            session.signer(view)
            assert len(session.root) == 32
            used.set()

    reader = threading.Thread(target=read)
    reader.start()
    with session.write(new_operation_id()) as transaction:
        transaction.record("generate")
        writing.set()
        assert reading.wait(PATIENCE)
        assert used.wait(5), "the reader waits for the writer"
    reader.join()
