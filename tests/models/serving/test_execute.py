"""Models in memory for a program: verified before, recorded before, read-only, in no file system."""

from __future__ import annotations

import os
import resource
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.keystores import LICENSE, OTHER_LICENSE, error_of
from tests.models.workshop import EDGES, MODEL, Workshop, pattern, stretch
from tiktrue_keys.errors import (
    IntegrityError,
    NotFoundError,
    RefusedError,
    RevokedError,
    TikTrueKeysError,
    UnavailableError,
    UsageError,
    WrongLicenseError,
)
from tiktrue_keys.models.serving.child import run_child
from tiktrue_keys.models.serving.execute import HeldModel, filled_in, held_models

BODY_AT = 65536


def hold(shop: Workshop, stack: ExitStack, *paths: Path, **options: Any) -> tuple[HeldModel, ...]:
    known: dict[str, Any] = {"program": "cat", "license_key": LICENSE}
    return stack.enter_context(held_models(shop.manager, paths, **(known | options)))


def flip(path: Path, at: int) -> None:
    data = bytearray(path.read_bytes())
    data[at] ^= 1
    path.write_bytes(data)


def python(*lines: str) -> list[str]:
    return [sys.executable, "-c", "\n".join(lines)]


# The words.


@pytest.mark.parametrize(
    ("words", "paths", "expected"),
    [
        (["cat", "{}"], ["/a"], ["cat", "/a"]),
        (["cat", "{}", "{}"], ["/a"], ["cat", "/a", "/a"]),
        (["run", "--model={}", "--same={},{}"], ["/a"], ["run", "--model=/a", "--same=/a,/a"]),
        (["run", "-m", "{}", "--draft={}"], ["/a", "/b"], ["run", "-m", "/a", "--draft=/b"]),
        (["run", "{}:{}"], ["/a", "/b"], ["run", "/a:/b"]),
        (["run", "{", "}", "{}{x}"], ["/a"], ["run", "{", "}", "/a{x}"]),
    ],
)
def test_the_paths_stand_where_the_braces_did(words: list[str], paths: list[str], expected: list[str]) -> None:
    assert filled_in(words, paths) == expected


@pytest.mark.parametrize(
    ("words", "paths"),
    [([], ["/a"]), (["cat"], ["/a"]), (["cat", "{}"], ["/a", "/b"]), (["cat", "{}{}{}"], ["/a", "/b"])],
)
def test_words_that_leave_a_model_out_are_an_error(words: list[str], paths: list[str]) -> None:
    with pytest.raises(UsageError):
        filled_in(words, paths)


# The models.


@pytest.mark.parametrize("length", EDGES)
def test_the_model_is_in_memory_whole(shop: Workshop, length: int) -> None:
    path = shop.sealed(length)
    with ExitStack() as stack:
        (held,) = hold(shop, stack, path)
        assert Path(held.path).read_bytes() == pattern(length)
        assert (held.length, held.signed, held.key.key_id) == (length, True, shop.key.key_id)
        assert os.readlink(held.path).startswith("/memfd:weights.bin")


@pytest.mark.parametrize(("free", "fits"), [(None, True), (20_000, True), (10_500, False), (0, False)])
def test_models_that_do_not_fit_into_memory_are_not_decrypted(shop: Workshop, free: int | None, fits: bool) -> None:
    """Two of 5,000 bytes each, and a sixteenth stays free."""
    paths = [shop.sealed(name="a"), shop.sealed(name="b")]
    with ExitStack() as stack:
        if fits:
            assert len(hold(shop, stack, *paths, free=lambda: free)) == 2
            return
        with pytest.raises(UnavailableError, match=f"need 10000 bytes of memory, and {free} are free"):
            hold(shop, stack, *paths, free=lambda: free)
    assert shop.last_events(1) == [("exec", "failed")]


def test_memory_is_taken_for_what_is_verified(shop: Workshop) -> None:
    """A sparse file of a GiB, signed, whose segments are not what the signature says: nothing is reserved.

    Several segments are verified at a time, so that any of the first ones may be named.
    """
    path = shop.sealed()
    stretch(shop.manager, path, shop.data_key(path), 1 << 30)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (64 << 20, before[1]))
    try:
        with ExitStack() as stack, pytest.raises(IntegrityError, match=r"segment \d+ of the"):
            hold(shop, stack, path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_nobody_can_write_to_it(shop: Workshop) -> None:
    path = shop.sealed()
    with ExitStack() as stack:
        (held,) = hold(shop, stack, path)
        for attempt in (
            lambda: os.pwrite(held.fd, b"x", 0),
            lambda: os.ftruncate(held.fd, 0),
            lambda: os.ftruncate(held.fd, 1 << 20),
            lambda: os.posix_fallocate(held.fd, 0, 1 << 20),
        ):
            with pytest.raises(OSError, match="not permitted"):
                attempt()


def test_it_is_gone_after_the_block(shop: Workshop) -> None:
    path = shop.sealed()
    with ExitStack() as stack:
        (held,) = hold(shop, stack, path)
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(held.fd)


def test_every_use_is_recorded_before_a_byte_is_decrypted(shop: Workshop) -> None:
    first, second = shop.sealed(name="a"), shop.sealed(2 << 20, name="b")
    flip(second, BODY_AT + (1 << 20))
    with ExitStack() as stack, pytest.raises(IntegrityError):
        hold(shop, stack, first, second, program="llama-server")
    assert shop.last_events(3) == [("exec", "ok"), ("exec", "ok"), ("exec", "refused")]
    record = list(shop.manager.audit_records())[-2]
    assert (record.detail["path"], record.detail["program"]) == (str(second), "llama-server")


def test_where_nothing_can_be_recorded_nothing_is_released(shop: Workshop, monkeypatch: pytest.MonkeyPatch) -> None:
    path = shop.sealed()
    asked: list[str] = []

    def create(name: str, flags: int) -> int:
        asked.append(name)
        raise AssertionError

    def full(*_: object, **__: object) -> None:
        raise UnavailableError("the disk is full")

    monkeypatch.setattr(os, "memfd_create", create)
    monkeypatch.setattr(shop.manager, "record_uses", full)
    with ExitStack() as stack, pytest.raises(UnavailableError):
        hold(shop, stack, path)
    assert asked == []


def test_several_models_under_one_license(shop: Workshop) -> None:
    asked: list[int] = []
    paths = [shop.sealed(100, name="a"), shop.sealed(200, name="b")]

    def license_key() -> str:
        asked.append(1)
        return LICENSE

    with ExitStack() as stack:
        held = hold(shop, stack, *paths, license_key=license_key)
        assert [Path(model.path).read_bytes() for model in held] == [pattern(100), pattern(200)]
    assert len(asked) <= 1


def test_progress_counts_all_of_them(shop: Workshop) -> None:
    seen: list[tuple[int, int | None]] = []
    paths = [shop.sealed(100, name="a"), shop.sealed(200, name="b")]
    with ExitStack() as stack:
        hold(shop, stack, *paths, progress=lambda done, total: seen.append((done, total)))
    assert seen[-1] == (300, 300)
    assert {total for _, total in seen} == {300}


def test_what_decrypt_refuses_is_refused(shop: Workshop) -> None:
    path, unsigned = shop.sealed(), shop.unsigned()

    def error(source: Path, **options: Any) -> type[TikTrueKeysError]:
        with ExitStack() as stack:
            return type(error_of(lambda: hold(shop, stack, source, **options)))  # type: ignore[return-value]

    assert error(unsigned) is RefusedError
    assert error(path, license_key=OTHER_LICENSE) is WrongLicenseError
    assert error(path, license_key=None) is UsageError
    assert error(shop.folder / "none") is NotFoundError
    flip(path, BODY_AT + 100)
    assert error(path) is IntegrityError
    shop.manager.revoke(model=MODEL, reason="over")
    assert error(unsigned, allow_unsigned=True) is RevokedError


def test_an_unsigned_one_is_warned(shop: Workshop) -> None:
    with ExitStack() as stack:
        (held,) = hold(shop, stack, shop.unsigned(), allow_unsigned=True)
    assert [notice.code for notice in held.warnings] == ["unsigned"]


# The program.


def test_the_program_inherits_the_models_and_nothing_else(shop: Workshop, tmp_path: Path) -> None:
    out = tmp_path / "out"
    count = python("import os; os._exit(len(os.listdir('/proc/self/fd')))")
    with ExitStack() as stack:
        (held,) = hold(shop, stack, shop.sealed())
        assert run_child(count, os.environ, [held.fd]) == run_child(count, os.environ, []) + 1
        assert not os.get_inheritable(held.fd)
        assert run_child(["cp", held.path, str(out)], os.environ, [held.fd]) == 0
    assert out.read_bytes() == pattern(5000)


@pytest.mark.parametrize("status", [0, 1, 125, 255])
def test_its_status_is_the_result(status: int) -> None:
    assert run_child(python(f"raise SystemExit({status})"), os.environ, []) == status


@pytest.mark.parametrize("number", [9, 15])
def test_a_signal_that_ended_it_counts_from_128(number: int) -> None:
    assert run_child(python(f"import os; os.kill(os.getpid(), {number})"), os.environ, []) == 128 + number


def test_no_signal_is_blocked_or_ignored_for_it() -> None:
    blocked = "import os, signal; os._exit(len(signal.pthread_sigmask(signal.SIG_BLOCK, [])))"
    assert run_child(python(blocked), os.environ, []) == 0
    # SIGPIPE and SIGXFSZ, which Python ignores: bits 12 and 24.
    ignored = "exit $(( (0x$(sed -n 's/^SigIgn:.//p' /proc/self/status) & 0x1001000) != 0 ))"
    assert run_child(["sh", "-c", ignored], os.environ, []) == 0


@pytest.mark.parametrize("words", [["/no/such/program"], ["no-such-program"], ["/etc/passwd"], ["a\0b"]])
def test_what_cannot_be_run_is_said(words: list[str]) -> None:
    with pytest.raises(UnavailableError, match="cannot be run"):
        run_child(words, os.environ, [])


def test_our_own_signals_are_as_before(shop: Workshop) -> None:
    import signal

    before = signal.pthread_sigmask(signal.SIG_BLOCK, [])
    run_child(["true"], os.environ, [])
    error_of(lambda: run_child(["/no/such/program"], os.environ, []))
    assert signal.pthread_sigmask(signal.SIG_BLOCK, []) == before
