"""Every byte of a keystore file changed, one at a time: refused with an error of ours, or the same answers as before.

The normal run takes a sample with a fresh seed, which a failure names; TESTS_IN_FULL=1 takes every byte.
"""

from __future__ import annotations

import os
import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.keystores import FULL_RUN, LICENSE, Desk, answers, container, file_operation
from tiktrue_keys.core.manager import KeyManager
from tiktrue_keys.errors import TikTrueKeysError

pytestmark = pytest.mark.untraced

SAMPLE = 200
PAGE = 4096


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    """A closed keystore with a licensed key and its successor, one without license, a container, an open intent."""
    with Desk(tmp_path) as made:
        manager = made.manager()
        llama = manager.generate("llama", license_key=LICENSE).keys[0]
        manager.generate("plain", no_license=True)
        manager.register(container(llama))
        manager.begin_file_operation(file_operation("rewrap", before=(llama,), after=(llama,), file_id=b"i" * 16))
        manager.rotate(["llama"], license_key=LICENSE)
        made.close()
        yield made


def positions(data: bytes, seed: int) -> list[int]:
    """All of them, or a sample; every page has its share, whether it holds much or little."""
    if FULL_RUN:
        return list(range(len(data)))
    chosen = random.Random(seed)
    interesting = [at for at in range(len(data)) if data[at] != 0]
    return chosen.sample(interesting, SAMPLE * 9 // 10) + chosen.sample(range(len(data)), SAMPLE // 10)


def test_no_changed_byte_is_taken_for_something_else(desk: Desk) -> None:
    data = desk.file.read_bytes()
    seed = random.SystemRandom().randrange(2**32)
    flips = random.Random(seed)
    manager = desk.manager()
    before = answers(manager)
    outcomes = {"same": 0, "refused": 0}
    for at in positions(data, seed):
        manager.close()
        changed = bytearray(data)
        changed[at] ^= 1 << flips.randrange(8)
        put_back(desk, bytes(changed))
        outcome = outcome_of(manager, before)
        assert outcome in outcomes, f"seed {seed}: byte {at} of page {at // PAGE + 1}: {outcome}"
        outcomes[outcome] += 1
    manager.close()
    put_back(desk, data)
    assert answers(manager) == before
    assert outcomes["refused"] > sum(outcomes.values()) // 2


def outcome_of(manager: KeyManager, before: dict[str, object]) -> str:
    try:
        after = answers(manager)
    except TikTrueKeysError:
        return "refused"
    except Exception as error:  # noqa: BLE001  any other exception is what this looks for
        return repr(error)
    wrong = [name for name, answer in after.items() if answer != before[name]]
    return f"another answer to {wrong}" if wrong else "same"


def put_back(desk: Desk, data: bytes) -> None:
    """The database with these bytes, and nothing of SQLite's beside it."""
    for path in desk.folder.iterdir():
        if path.name.startswith(f"{desk.file.name}-"):
            path.unlink()
    desk.file.write_bytes(data)


@pytest.mark.parametrize("length", [1, 16, 100, 512, PAGE, 3 * PAGE, -PAGE, -1])
def test_a_file_that_was_cut_is_refused_or_lacks_nothing(desk: Desk, length: int) -> None:
    with desk.manager() as manager:
        before = answers(manager)
    desk.file.write_bytes(desk.file.read_bytes()[:length])
    with desk.manager() as manager:
        assert outcome_of(manager, before) in ("refused", "same" if length == -1 else "refused")


@pytest.mark.parametrize("suffix", ["-journal", "-wal", "-shm"])
def test_a_file_of_nonsense_beside_it_changes_nothing(desk: Desk, suffix: str) -> None:
    with desk.manager() as manager:
        before = answers(manager)
    beside = Path(f"{desk.file}{suffix}")
    beside.write_bytes(os.urandom(8192))
    beside.chmod(0o600)
    with desk.manager() as manager:
        assert outcome_of(manager, before) in ("same", "refused")


def test_an_error_of_sqlite_that_is_not_even_text_is_an_error_of_ours(desk: Desk) -> None:
    # SQLite quotes the broken statement of its schema; Python fails to decode that.
    data = desk.file.read_bytes()
    assert data.count(b"CREATE TABLE bucket") == 1
    desk.file.write_bytes(data.replace(b"CREATE TABLE bucket", b"CREATE\xa0TABLE bucket"))
    with desk.manager() as manager:
        assert outcome_of(manager, {}) == "refused"
