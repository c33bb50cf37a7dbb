"""SecretBuffer: bytes that are zeroed, locked, hidden, and never shared with a child."""

from __future__ import annotations

import contextlib
import copy
import ctypes
import gc
import os
import pickle
import threading
from collections.abc import Callable

import pytest

from tests.keystores import in_a_child
from tiktrue_keys.core import secret as module
from tiktrue_keys.core.secret import SecretBuffer, memory_is_locked
from tiktrue_keys.errors import InternalError


def mappings() -> int:
    return len(module._arena._chunks)


def test_it_holds_what_was_put_in_and_shows_it_to_nobody() -> None:
    with SecretBuffer.copy_of(b"hunter2") as secret:
        assert bytes(secret.view) == b"hunter2"
        assert len(secret) == 7
        assert "hunter2" not in f"{secret} {secret!r}"


@pytest.mark.parametrize("duplicate", [copy.copy, copy.deepcopy, pickle.dumps])
def test_it_is_neither_copied_nor_pickled(duplicate: Callable[[object], object]) -> None:
    with SecretBuffer(1) as secret, pytest.raises(InternalError):
        duplicate(secret)


def test_an_empty_secret_is_a_bug() -> None:
    with pytest.raises(InternalError):
        SecretBuffer(0)


@pytest.mark.parametrize("length", [1, 32, 63, 64, 65, 4096, 4097, 200_000])
def test_a_fresh_one_is_zero_even_where_another_was(length: int) -> None:
    for _ in range(3):
        with SecretBuffer(length) as secret:
            assert len(secret.view) == length
            assert not any(secret.view)
            secret.view[:] = b"\xff" * length


def test_after_wiping_the_view_is_gone_and_wiping_again_does_nothing() -> None:
    secret = SecretBuffer.random()
    view = secret.view
    secret.wipe()
    secret.wipe()
    with pytest.raises(ValueError, match="released"):
        bytes(view)


def test_leaving_the_block_by_an_exception_wipes_too() -> None:
    with pytest.raises(ZeroDivisionError), SecretBuffer.random() as secret:
        raise ZeroDivisionError
    with pytest.raises(ValueError, match="released"):
        bytes(secret.view)


def test_it_is_zeroed_although_somebody_still_looks_at_it() -> None:
    secret = SecretBuffer.copy_of(b"x" * 32)
    looking = (ctypes.c_char * 32).from_buffer(secret.view)
    with contextlib.suppress(BufferError):
        secret.wipe()
    assert looking.raw == bytes(32)


def test_a_collected_secret_gives_its_memory_back() -> None:
    gc.collect()
    before = mappings()
    for _ in range(5000):
        SecretBuffer.random()
    assert mappings() <= before + 1


@pytest.mark.parametrize("length", [32, 100, 5000])
def test_memory_does_not_grow_with_the_number_of_secrets_that_come_and_go(length: int) -> None:
    SecretBuffer(length).wipe()
    before = mappings()
    for _ in range(300):
        with SecretBuffer(length):
            pass
    assert mappings() <= before + 1


def test_threads_never_get_the_same_bytes() -> None:
    wrong: list[int] = []

    def work(number: int) -> None:
        for _ in range(400):
            with SecretBuffer(40) as secret:
                secret.view[:] = bytes([number]) * 40
                if bytes(secret.view) != bytes([number]) * 40:
                    wrong.append(number)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(1, 9)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
class TestFork:
    def test_a_child_sees_zeros_where_the_parents_secret_was(self) -> None:
        with SecretBuffer.copy_of(b"x" * 32) as secret:
            assert in_a_child(lambda: bytes(secret.view)) == bytes(32)
            assert bytes(secret.view) == b"x" * 32

    def test_what_a_child_writes_and_wipes_is_its_own(self) -> None:
        def child() -> bytes:
            made = [SecretBuffer.copy_of(b"c" * 32) for _ in range(2000)]
            os.write(ready, b".")
            os.read(parent_done, 1)
            whole = all(bytes(secret.view) == b"c" * 32 for secret in made)
            for secret in made:
                secret.wipe()
            return b"whole" if whole else b"overwritten by the parent"

        child_done, ready = os.pipe()
        parent_done, done = os.pipe()
        said: list[bytes] = []
        thread = threading.Thread(target=lambda: said.append(in_a_child(child)))
        thread.start()
        os.read(child_done, 1)
        ours = [SecretBuffer.copy_of(b"p" * 32) for _ in range(2000)]
        os.write(done, b".")
        thread.join()
        assert said == [b"whole"]
        assert all(bytes(secret.view) == b"p" * 32 for secret in ours)


def test_the_memory_is_locked_and_stays_out_of_core_dumps() -> None:
    if not memory_is_locked():
        pytest.skip("RLIMIT_MEMLOCK does not allow it here")
    with SecretBuffer.random() as secret:
        address = ctypes.addressof(ctypes.c_char.from_buffer(secret.view))
        flags = vm_flags(address)
    if flags is None:
        pytest.skip("/proc/self/smaps does not tell")
    assert {"lo", "dd", "wf"} <= flags  # locked, don't dump, wipe on fork: proc_pid_smaps(5)


def vm_flags(address: int) -> set[str] | None:
    """The kernel's flags of the mapping around an address."""
    with contextlib.suppress(OSError), open("/proc/self/smaps", encoding="ascii", errors="replace") as smaps:
        inside = False
        for line in smaps:
            first = line.split(" ", 1)[0]
            if "-" in first and not first.endswith(":"):
                start, _, end = first.partition("-")
                inside = int(start, 16) <= address < int(end, 16)
            elif inside and line.startswith("VmFlags:"):
                return set(line.split()[1:])
    return None
