"""Decrypting one container: by which key, what is not believed, and that nothing leaves before it is recorded."""

from __future__ import annotations

import os
import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.keystores import LICENSE, OTHER_LICENSE
from tests.models.containers import add_signature
from tests.models.workshop import EDGES, FIRST, MODEL, NEXT, Workshop, drained, fed_pipe, other_manager, pattern
from tiktrue_keys.core.secret import SecretBuffer
from tiktrue_keys.errors import (
    BusyError,
    ExpiredError,
    IntegrityError,
    NotFoundError,
    RefusedError,
    RevokedError,
    TikTrueKeysError,
    UsageError,
    WrongLicenseError,
)
from tiktrue_keys.models.container.container import read_container
from tiktrue_keys.models.container.seal import keystore_signer
from tiktrue_keys.models.file.decrypt import Decrypted, decrypt_model
from tiktrue_keys.models.file.encrypt import encrypt_model
from tiktrue_keys.models.file.open import open_model
from tiktrue_keys.models.file.reencrypt import reencrypt_model
from tiktrue_keys.models.file.verify import verify_model
from tiktrue_keys.models.format.header import Header, Origin, Wrap, WrapType
from tiktrue_keys.models.format.header_slots import HEADER_SIZE, encode_header
from tiktrue_keys.models.format.trailer import SIGNATURE_PLACE_FROM_END, SIGNATURE_PLACE_LENGTH


def decrypt(shop: Workshop, source: Path, **options: Any) -> Decrypted:
    return decrypt_model(shop.manager, source, **{"license_key": LICENSE, **options})


def edit(path: Path, at: int, data: bytes) -> None:
    """Write over a place in a file, from its end when `at` is negative."""
    with path.open("r+b") as file:
        file.seek(at, os.SEEK_END if at < 0 else os.SEEK_SET)
        file.write(data)


def edit_each(path: Path, places: tuple[int, ...]) -> None:
    for at in places:
        edit(path, at, b"\0")


def strip_signature(path: Path) -> None:
    edit(path, -SIGNATURE_PLACE_FROM_END, bytes(SIGNATURE_PLACE_LENGTH))


def change_header(path: Path, data_key: bytes, change: Callable[[Header], Header]) -> None:
    """Rewrite a header as somebody can who has the data key, a node for example."""
    with path.open("rb") as file:
        header = read_container(file.fileno()).header
    with SecretBuffer.copy_of(data_key) as secret:
        edit(path, 0, encode_header(change(header), secret.view))


@pytest.mark.parametrize("length", EDGES)
def test_into_a_file(shop: Workshop, length: int) -> None:
    sealed = shop.sealed(length)
    result = decrypt(shop, sealed)
    out = shop.folder / "weights.bin"
    assert (result.destination, result.length, result.signed, result.changed) == (out, length, True, True)
    assert (result.name, result.key.key_id, result.warnings) == ("weights.bin", shop.key.key_id, ())
    assert out.read_bytes() == pattern(length)
    assert out.stat().st_mode & 0o777 == 0o600
    assert shop.names() == {"weights.bin", "weights.bin.ttm"}


def test_into_a_pipe(shop: Workshop) -> None:
    sealed = shop.sealed(3 << 20)
    result, out = drained(lambda sink: decrypt_model(shop.manager, sealed, sink, license_key=LICENSE))
    assert out == pattern(3 << 20)
    assert (result.destination, result.changed) == (None, False)


@pytest.mark.parametrize("piped", [False, True])
@pytest.mark.parametrize("length", [0, FIRST, 3 << 20])
def test_from_a_pipe(shop: Workshop, length: int, piped: bool) -> None:
    source = shop.plain(length)
    if piped:
        _, sealed = drained(lambda sink: encrypt_model(shop.manager, source, sink, key=MODEL, license_key=LICENSE))
    else:
        made = encrypt_model(shop.manager, source, key=MODEL, license_key=LICENSE).destination
        assert isinstance(made, Path)
        sealed = made.read_bytes()
    with fed_pipe(sealed) as pipe:
        result = decrypt_model(shop.manager, pipe, shop.folder / "out", license_key=LICENSE)
    assert (result.source, result.signed) == (None, True)
    assert (shop.folder / "out").read_bytes() == pattern(length)


def test_from_a_pipe_into_a_pipe(shop: Workshop) -> None:
    sealed = shop.sealed(3 << 20).read_bytes()
    with fed_pipe(sealed) as pipe:
        _, out = drained(lambda sink: decrypt_model(shop.manager, pipe, sink, license_key=LICENSE))
    assert out == pattern(3 << 20)


def test_it_is_recorded_with_the_key_and_the_place(shop: Workshop) -> None:
    sealed = shop.sealed()
    decrypt(shop, sealed)
    assert shop.last_events(2) == [("intent", "ok"), ("decrypt", "ok")]
    drained(lambda sink: decrypt_model(shop.manager, sealed, sink, license_key=LICENSE))
    records = list(shop.manager.audit_records())[-3:]
    assert [record.event for record in records] == ["intent", "decrypt", "decrypt"]
    assert {record.key_id for record in records} == {shop.key.key_id}
    assert [record.detail["path"] for record in records] == [str(sealed)] * 3
    assert records[1].detail["destination"] == str(shop.folder / "weights.bin")


@pytest.mark.parametrize("to_pipe", [True, False])
def test_no_record_no_plaintext(shop: Workshop, to_pipe: bool) -> None:
    sealed = shop.sealed()
    manager = shop.desk.manager(lock_timeout=0.05)
    assert manager.containers()
    blocker = sqlite3.connect(shop.desk.file, isolation_level=None)
    blocker.execute("BEGIN IMMEDIATE")  # reads go on, no record can be written

    def into_pipe(sink: Any) -> None:
        with pytest.raises(BusyError):
            decrypt_model(manager, sealed, sink, license_key=LICENSE)

    try:
        if to_pipe:
            assert drained(into_pipe) == (None, b"")
        else:
            with pytest.raises(BusyError):
                decrypt_model(manager, sealed, license_key=LICENSE)
    finally:
        blocker.close()
    assert shop.names() == {"weights.bin.ttm"}


def test_an_unknown_container_is_registered(shop: Workshop) -> None:
    sealed = shop.sealed()
    (row,) = shop.manager.containers()
    shop.manager.forget(row.file_id)
    decrypt(shop, sealed)
    (again,) = shop.manager.containers()
    assert (again.file_id, again.path, again.keys, again.signed) == (row.file_id, row.path, row.keys, True)


def test_a_moved_container_is_followed(shop: Workshop) -> None:
    sealed = shop.sealed()
    moved = sealed.rename(shop.folder / "moved.ttm")
    assert decrypt(shop, moved).warnings == ()
    assert shop.paths() == ["moved.ttm"]


def test_a_copy_is_registered_by_itself(shop: Workshop) -> None:
    sealed = shop.sealed()
    copy = Path(shutil.copy(sealed, shop.folder / "copy.ttm"))
    assert decrypt(shop, copy).warnings == ()
    assert shop.paths() == ["copy.ttm", "weights.bin.ttm"]


def test_a_piped_container_that_turned_up_is_within_reach(shop: Workshop) -> None:
    source = shop.plain()
    _, data = drained(lambda sink: encrypt_model(shop.manager, source, sink, key=MODEL, license_key=LICENSE))
    (shop.folder / "found.ttm").write_bytes(data)
    decrypt(shop, shop.folder / "found.ttm")
    (row,) = shop.manager.containers()
    assert (row.path, row.piped) == (str(shop.folder / "found.ttm"), False)


def test_the_outputs_name_follows_from_the_containers(shop: Workshop) -> None:
    odd = shop.sealed().rename(shop.folder / "odd")
    with pytest.raises(UsageError, match=r"\.ttm"):
        decrypt(shop, odd)
    with fed_pipe(odd.read_bytes()) as pipe, pytest.raises(UsageError):
        decrypt_model(shop.manager, pipe, license_key=LICENSE)


def test_an_existing_output_is_refused_unless_forced(shop: Workshop) -> None:
    sealed = shop.sealed()
    out = shop.folder / "weights.bin"
    out.write_bytes(b"precious")
    with pytest.raises(RefusedError, match="exists already"):
        decrypt(shop, sealed)
    assert out.read_bytes() == b"precious"
    decrypt(shop, sealed, force=True)
    assert out.read_bytes() == pattern(5000)


def test_another_keystore_has_not_the_key(shop: Workshop, tmp_path: Path) -> None:
    sealed = shop.sealed()
    with other_manager(tmp_path / "other") as stranger, pytest.raises(NotFoundError, match=shop.key.key_id):
        decrypt_model(stranger, sealed, license_key=LICENSE)
    assert shop.names() == {"weights.bin.ttm"}


@pytest.mark.parametrize(("given", "error"), [(OTHER_LICENSE, WrongLicenseError), (None, UsageError)])
def test_the_license_must_be_the_right_one(shop: Workshop, given: str | None, error: type[TikTrueKeysError]) -> None:
    sealed = shop.sealed()
    with pytest.raises(error):
        decrypt(shop, sealed, license_key=given)
    assert shop.names() == {"weights.bin.ttm"}


def test_a_revoked_key_is_told_as_such_and_recorded(shop: Workshop) -> None:
    sealed = shop.sealed()
    shop.manager.revoke(model=MODEL, reason="leaked", rotate=True, license_key=LICENSE)
    for allowed in (False, True):
        with pytest.raises(RevokedError, match="leaked"):
            decrypt(shop, sealed, allow_deprecated=allowed)
    assert ("decrypt", "refused") in shop.last_events(2)
    assert shop.names() == {"weights.bin.ttm"}


def test_a_deprecated_key_warns_then_expires(shop: Workshop) -> None:
    sealed = shop.sealed()
    shop.manager.rotate([MODEL], license_key=LICENSE)
    assert decrypt(shop, sealed, force=True).warnings == ()
    shop.desk.clock.forward(days=8)
    assert [notice.code for notice in decrypt(shop, sealed, force=True).warnings] == ["deprecated"]
    shop.desk.clock.forward(days=200)
    (shop.folder / "weights.bin").unlink()
    with pytest.raises(ExpiredError, match="only until"):
        decrypt(shop, sealed)
    assert shop.names() == {"weights.bin.ttm"}
    decrypt(shop, sealed, allow_deprecated=True)
    assert list(shop.manager.audit_records())[-1].detail["allow_deprecated"] is True


def test_the_license_is_asked_for_once(shop: Workshop) -> None:
    sealed = shop.sealed()
    asked: list[int] = []

    def ask() -> str:
        asked.append(1)
        return LICENSE

    decrypt(shop, sealed, license_key=ask)
    assert len(asked) == 1


LENGTH = FIRST + 2 * NEXT + 10
BODY_END = HEADER_SIZE + 40 + LENGTH + 4 * 16

# Each leaves a container that must not open; the last number is where the byte at an offset lies.
DAMAGE: dict[str, Callable[[Path], object]] = {
    "nothing left": lambda path: os.truncate(path, 0),
    "header alone": lambda path: os.truncate(path, HEADER_SIZE),
    "cut in the body": lambda path: os.truncate(path, HEADER_SIZE + 100_000),
    "cut at a segment": lambda path: os.truncate(path, HEADER_SIZE + (1 << 20)),
    "trailer cut off": lambda path: os.truncate(path, BODY_END),
    "last byte missing": lambda path: os.truncate(path, path.stat().st_size - 1),
    "a byte appended": lambda path: path.write_bytes(path.read_bytes() + b"\0"),
    "both slots edited": lambda path: edit_each(path, (100, 32768 + 100)),
    "salt edited": lambda path: edit(path, HEADER_SIZE + 5, b"\xff\xff"),
    "first segment edited": lambda path: edit(path, HEADER_SIZE + 5000, b"\0\0\0\0"),
    "later segment edited": lambda path: edit(path, HEADER_SIZE + (1 << 20) + 5000, b"\0\0\0\0"),
    "last tag edited": lambda path: edit(path, BODY_END - 4, b"\0\0\0\0"),
    "leaves edited": lambda path: edit(path, BODY_END + 4, b"\0\0\0\0"),
    "root edited": lambda path: edit(path, -200 + 24, b"\0\0\0\0"),
    "signature edited": lambda path: edit(path, -SIGNATURE_PLACE_FROM_END + 40, b"\0\0\0\0"),
    "signature removed": strip_signature,
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_container_opens_nothing(shop: Workshop, damage: str) -> None:
    sealed, out = shop.sealed(LENGTH), shop.folder / "weights.bin"
    out.write_bytes(b"precious")
    DAMAGE[damage](sealed)
    for allowed in (False, True):
        with pytest.raises(IntegrityError):
            decrypt(shop, sealed, force=True, allow_unsigned=allowed)
        (record,) = list(shop.manager.audit_records())[-1:]
        assert (record.event, record.detail["error"]) == ("decrypt", "integrity")
    assert out.read_bytes() == b"precious"
    assert shop.names() == {"weights.bin", "weights.bin.ttm"}
    assert shop.manager.open_intents() == ()
    assert shop.paths() == ["weights.bin.ttm"]


@pytest.mark.parametrize("damage", [name for name in DAMAGE if name != "leaves edited"])
def test_a_damaged_container_from_a_pipe_opens_nothing(shop: Workshop, damage: str) -> None:
    sealed = shop.sealed(LENGTH)
    DAMAGE[damage](sealed)
    with fed_pipe(sealed.read_bytes()) as pipe, pytest.raises(IntegrityError):
        decrypt_model(shop.manager, pipe, shop.folder / "out", license_key=LICENSE)
    assert shop.names() == {"weights.bin.ttm"}


def test_into_a_pipe_only_verified_bytes_go_out(shop: Workshop) -> None:
    sealed = shop.sealed(LENGTH)
    edit(sealed, HEADER_SIZE + (2 << 20) + 5000, b"\0\0\0\0")

    def write(sink: Any) -> str:
        with pytest.raises(IntegrityError) as caught:
            decrypt_model(shop.manager, sealed, sink, license_key=LICENSE)
        return caught.value.message

    message, out = drained(write)
    assert pattern(LENGTH).startswith(out)
    assert len(out) <= FIRST + NEXT
    assert f"{len(out)} verified bytes" in message
    assert shop.last_events(2) == [("decrypt", "ok"), ("decrypt", "refused")]


def test_two_containers_exchanged_are_each_other(shop: Workshop) -> None:
    """The name of a file is not authentic, its file id is: what lies at a path may be another of our own containers."""
    first, second = shop.sealed(100, "a.bin"), shop.sealed(200, "b.bin")
    expected = read_root(first)
    os.replace(second, first)
    with pytest.raises(IntegrityError, match="another container"):
        decrypt(shop, first, expected_root=expected)
    assert decrypt(shop, first).length == 200


def read_root(path: Path) -> bytes:
    with path.open("rb") as file:
        return read_container(file.fileno()).root


def test_a_body_of_another_container_does_not_fit(shop: Workshop) -> None:
    first, second = shop.sealed(LENGTH, "a.bin"), shop.sealed(LENGTH, "b.bin")
    edit(first, HEADER_SIZE, second.read_bytes()[HEADER_SIZE:])
    with pytest.raises(IntegrityError):
        decrypt(shop, first)
    assert shop.names() == {"a.bin.ttm", "b.bin.ttm"}


def test_an_unsigned_container_is_refused_unless_allowed(shop: Workshop) -> None:
    sealed = shop.unsigned()
    with pytest.raises(RefusedError, match="not signed"):
        decrypt(shop, sealed)
    result = decrypt(shop, sealed, allow_unsigned=True)
    assert ([notice.code for notice in result.warnings], result.signed) == (["unsigned"], False)
    assert (shop.folder / "ci").read_bytes() == pattern(5000)
    assert list(shop.manager.audit_records())[-1].detail["allow_unsigned"] is True
    assert not shop.manager.containers()[0].signed


def test_a_wrap_cannot_be_added_without_the_data_key(shop: Workshop) -> None:
    """The signature does not cover the wraps: it is the header's HMAC that vouches for them."""
    sealed = shop.sealed()
    foreign = Wrap(WrapType.MANAGED_KEY, "llama/7b_0123456789abcdef", 1, bytes(60))
    change_header(sealed, os.urandom(32), lambda header: header.with_wraps((*header.wraps, foreign)))
    with pytest.raises(IntegrityError, match="header was changed"):
        decrypt(shop, sealed)
    with fed_pipe(sealed.read_bytes()) as pipe, pytest.raises(IntegrityError, match="header was changed"):
        decrypt_model(shop.manager, pipe, shop.folder / "out", license_key=LICENSE)
    assert shop.names() == {"weights.bin.ttm"}


@pytest.mark.parametrize("given", ["false", "no", 0, 1, None])
def test_what_is_neither_true_nor_false_allows_nothing(shop: Workshop, given: Any) -> None:
    """A text from a settings file, of which any but the empty one counts as true in Python."""
    sealed = shop.unsigned()
    for act in (
        lambda: decrypt(shop, sealed, allow_unsigned=given),
        lambda: decrypt(shop, sealed, allow_deprecated=given),
        lambda: verify_model(shop.manager, sealed, license_key=LICENSE, allow_unsigned=given),
        lambda: open_model(sealed, shop.manager, LICENSE, allow_unsigned=given),
        lambda: reencrypt_model(shop.manager, sealed, license_key=LICENSE, recover_revoked=given),
    ):
        with pytest.raises(UsageError, match="must be True or False"):
            act()
    assert shop.names() == {"ci.ttm"}


def test_a_node_with_the_data_key_cannot_pass_a_forgery(shop: Workshop) -> None:
    """It strips the signature and says that the container never had one: the registry knows better."""
    sealed = shop.sealed()
    data_key = shop.data_key(sealed)
    change_header(sealed, data_key, lambda header: Header(**{**vars(header), "origin": Origin.RECIPIENT}))
    strip_signature(sealed)
    with pytest.raises(IntegrityError, match="signature was removed"):
        decrypt(shop, sealed, allow_unsigned=True)
    assert shop.names() == {"weights.bin.ttm"}


def test_a_node_with_the_data_key_cannot_rename_the_model(shop: Workshop) -> None:
    sealed = shop.sealed()
    change_header(sealed, shop.data_key(sealed), lambda header: Header(**{**vars(header), "name": "other"}))
    with pytest.raises(IntegrityError, match="signature is wrong"):
        decrypt(shop, sealed)


def test_another_keystores_signature_is_not_believed(shop: Workshop, tmp_path: Path) -> None:
    """The other keystore has the data key and signs what it likes."""
    sealed = shop.sealed()
    with other_manager(tmp_path / "other") as stranger, sealed.open("r+b") as file:
        container = read_container(file.fileno())
        add_signature(file.fileno(), container, keystore_signer(stranger, "llama"))
    with pytest.raises(IntegrityError, match="signed by another keystore"):
        decrypt(shop, sealed, allow_unsigned=True)


def test_an_interrupt_leaves_nothing(shop: Workshop) -> None:
    sealed = shop.sealed(40 << 20)

    def progress(_: int, __: int | None) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        decrypt(shop, sealed, progress=progress)
    assert shop.names() == {"weights.bin.ttm"}
    assert shop.last_events(1) == [("decrypt", "failed")]
    assert shop.paths() == ["weights.bin.ttm"]
    assert shop.manager.open_intents() == ()


def test_what_is_no_container(shop: Workshop) -> None:
    plain = shop.plain(100_000)
    with pytest.raises(IntegrityError, match="not a model container"):
        decrypt(shop, plain, destination=shop.folder / "out")
    with pytest.raises(NotFoundError):
        decrypt(shop, shop.folder / "absent.ttm")
    with pytest.raises(RefusedError, match="regular file"):
        decrypt(shop, shop.folder, destination=shop.folder / "out")


def test_a_repeated_operation_id_gives_the_first_result(shop: Workshop) -> None:
    sealed = shop.sealed()
    decrypt(shop, sealed, operation_id="once")
    again = decrypt(shop, sealed, operation_id="once")
    assert (again.changed, again.length, again.destination) == (False, 5000, shop.folder / "weights.bin")
    (shop.folder / "weights.bin").unlink()
    with pytest.raises(RefusedError, match="done already"):
        decrypt(shop, sealed, operation_id="once")
