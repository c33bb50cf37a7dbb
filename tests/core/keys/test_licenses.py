"""Licenses: stretched once, outside any transaction; recognised, enrolled, never stored."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable

import pytest

from tests.keystores import LICENSE, OTHER_LICENSE, Desk, error_of
from tiktrue_keys.core.keys.license_entries import Stretch
from tiktrue_keys.core.keys.licenses import MAX_LENGTH, License, LicenseCache, license_bytes
from tiktrue_keys.core.keys.lifecycle import Use
from tiktrue_keys.core.keystore.document import Cost
from tiktrue_keys.core.manager import KeyManager
from tiktrue_keys.errors import UsageError, WrongLicenseError

COST = Stretch(2, 0, Cost(bytes(32), 100_000))
OTHER_COST = Stretch(2, 1, Cost(bytes(32), 100_001))
OLDER = Stretch(1, 0, COST.cost)


def secret_of(manager: KeyManager, license_key: License | None, key: str = "llama") -> bytes:
    with manager.open_key(key, license_key, use=Use.ENCRYPT) as opened:
        return bytes(opened.secret.view)


class TestStretching:
    def test_once_a_license_and_cost(self) -> None:
        cache = LicenseCache()
        first = cache.prepare(LICENSE, (COST, OTHER_COST, OLDER)).stretched
        assert cache.prepare(LICENSE, (COST, OTHER_COST)).stretched[2, 0] is first[2, 0]
        assert cache.prepare(LICENSE.encode(), (OTHER_COST,)).stretched[2, 1] is first[2, 1]
        assert cache.prepare(lambda: LICENSE, (COST,)).stretched[2, 0] is first[2, 0]
        assert len({bytes(each.view) for each in first.values()}) == 3
        assert cache.prepare(OTHER_LICENSE, (COST,)).stretched[2, 0].view != first[2, 0].view

    def test_threads_with_one_license_wait_for_one_stretching(self) -> None:
        cache = LicenseCache()
        found: list[object] = []
        barrier = threading.Barrier(8)

        def work() -> None:
            barrier.wait()
            found.append(cache.prepare(LICENSE, (COST,)).stretched[2, 0])

        threads = [threading.Thread(target=work) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(found) == 8
        assert len({id(one) for one in found}) == 1

    def test_only_so_many_are_remembered(self) -> None:
        cache = LicenseCache()
        for number in range(18):
            cache.prepare(f"license {number}", (COST,))
        assert len(cache._known) == 16

    def test_forgetting_leaves_nothing_but_what_somebody_is_using(self) -> None:
        cache = LicenseCache()
        in_use = cache.prepare(LICENSE, (COST,)).stretched[2, 0]
        expected = bytes(in_use.view)
        cache.clear()
        assert not cache._known
        assert in_use.view == expected
        assert cache.prepare(LICENSE, (COST,)).stretched[2, 0] is not in_use

    def test_no_list_of_plain_hashes_of_licenses_is_kept(self) -> None:
        one, other = LicenseCache(), LicenseCache()
        for cache in (one, other):
            cache.prepare(LICENSE, (COST,))
        assert set(one._known) != set(other._known)


class TestRead:
    @pytest.mark.parametrize(
        ("given", "read"),
        [
            ("ü", "ü".encode()),
            (b"\xff\0", b"\xff\0"),
            ("raw \udcff", b"raw \xff"),
            (lambda: "asked for", b"asked for"),
            (lambda: b"asked for", b"asked for"),
            ("x" * MAX_LENGTH, b"x" * MAX_LENGTH),
        ],
        ids=["text", "bytes", "an environment's bytes", "asked", "asked for bytes", "long"],
    )
    def test_as_bytes(self, given: License, read: bytes) -> None:
        assert license_bytes(given) == read

    @pytest.mark.parametrize(
        "given", ["", b"", lambda: "", "x" * (MAX_LENGTH + 1), 1234, None, ["x"], lambda: 7, "\ud800"]
    )
    def test_what_is_no_license(self, given: License) -> None:
        with pytest.raises(UsageError):
            license_bytes(given)

    def test_a_long_license_is_told_by_every_byte(self, desk: Desk) -> None:
        manager = desk.manager()
        manager.generate("llama", license_key="x" * 5000)
        assert len(secret_of(manager, "x" * 5000)) == 32
        assert isinstance(error_of(lambda: secret_of(manager, "x" * 4999)), WrongLicenseError)


class TestKnown:
    def test_the_first_one_is_enrolled_with_the_keystore(self, desk: Desk) -> None:
        manager = desk.manager()
        manager.generate("llama", license_key=LICENSE)
        assert isinstance(error_of(lambda: manager.generate("m", license_key=OTHER_LICENSE)), WrongLicenseError)

    def test_or_later_when_the_keystore_began_without_one(self, desk: Desk) -> None:
        manager = desk.manager()
        manager.generate("plain", no_license=True)
        manager.generate("llama", license_key=LICENSE)
        assert isinstance(error_of(lambda: manager.generate("m", license_key=OTHER_LICENSE)), WrongLicenseError)
        assert len(secret_of(manager, LICENSE)) == 32

    def test_a_second_one_beside_it(self, desk: Desk) -> None:
        manager = desk.manager()
        manager.generate("llama", license_key=LICENSE)
        manager.generate("mistral", license_key=OTHER_LICENSE, new_license=True)
        assert secret_of(manager, LICENSE) != secret_of(manager, OTHER_LICENSE, "mistral")
        error = error_of(lambda: secret_of(manager, OTHER_LICENSE))
        assert isinstance(error, WrongLicenseError)
        llama = manager.find("llama")
        assert str(llama.license_tag) in error.message

    def test_asking_for_a_new_one_that_is_known_adds_nothing(self, desk: Desk) -> None:
        manager = desk.manager()
        for model in ("a", "b"):
            manager.generate(model, license_key=LICENSE, new_license=True)
        assert [record.event for record in list(manager.audit_records())].count("license-enroll") == 1

    def test_its_tag_is_another_in_another_keystore(self, desk: Desk) -> None:
        first = desk.manager().generate("llama", license_key=LICENSE).keys[0]
        desk.folder = desk.folder.with_name("another")
        second = desk.manager().generate("llama", license_key=LICENSE).keys[0]
        assert first.license_tag != second.license_tag

    def test_a_key_without_license_opens_with_any_or_none(self, desk: Desk) -> None:
        manager = desk.manager()
        manager.generate("plain", no_license=True)
        assert secret_of(manager, None, "plain") == secret_of(manager, "whatever", "plain")


class TestWhenItIsAskedFor:
    OPERATIONS: tuple[Callable[[KeyManager, License], object], ...] = (
        lambda manager, license_key: manager.generate("new", license_key=license_key),
        lambda manager, license_key: manager.rotate(["llama"], license_key=license_key),
        lambda manager, license_key: manager.revoke(["llama"], reason="x", rotate=True, license_key=license_key),
        lambda manager, license_key: manager.open_key("llama", license_key, use=Use.ENCRYPT),
    )

    @pytest.mark.parametrize("operation", OPERATIONS, ids=["generate", "rotate", "revoke", "open"])
    def test_no_transaction_is_open(self, desk: Desk, operation: Callable[[KeyManager, License], object]) -> None:
        manager = desk.manager()
        manager.generate("llama", license_key=LICENSE)
        asked = []

        def ask() -> str:
            asked.append(True)
            stranger = sqlite3.connect(desk.file, timeout=0, isolation_level=None)
            try:
                stranger.execute("BEGIN EXCLUSIVE")  # fails where anybody reads or writes
                stranger.execute("ROLLBACK")
            finally:
                stranger.close()
            return LICENSE

        operation(manager, ask)
        assert asked == [True]

    @pytest.mark.parametrize("operation", OPERATIONS, ids=["generate", "rotate", "revoke", "open"])
    def test_an_exception_of_whoever_asks_passes_and_nothing_is_done(
        self, desk: Desk, operation: Callable[[KeyManager, License], object]
    ) -> None:
        def ask() -> str:
            raise EOFError("no terminal")

        manager = desk.manager()
        manager.generate("llama", license_key=LICENSE)
        with pytest.raises(EOFError):
            operation(manager, ask)
        assert [key.generation for key in list(manager.keys())] == [1]
        assert len(secret_of(manager, LICENSE)) == 32

    def test_a_key_that_may_not_be_used_does_not_ask(self, desk: Desk) -> None:
        def never() -> str:
            raise AssertionError("the license was read")

        manager = desk.manager()
        key_id = manager.generate("llama", license_key=LICENSE).keys[0].key_id
        manager.revoke(["llama"], reason="x")
        assert error_of(lambda: manager.open_key("llama", never, use=Use.DECRYPT)) is not None
        assert error_of(lambda: manager.rotate([key_id], license_key=never)) is not None


def test_no_license_nor_what_it_was_stretched_to_is_in_any_file(desk: Desk) -> None:
    manager = desk.manager()
    manager.generate("llama", license_key=LICENSE)
    stretched = bytes(manager._session.prepare(LICENSE).stretched[2, 0].view)  # type: ignore[union-attr]
    desk.close()
    written = b"".join(path.read_bytes() for path in desk.folder.parent.rglob("*") if path.is_file())
    assert LICENSE.encode() not in written
    assert stretched not in written
    assert stretched.hex().encode() not in written
