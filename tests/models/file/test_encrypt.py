"""Encrypting one model: what is made, what is refused, and that a failure leaves everything as it was."""

from __future__ import annotations

import io
import os
import subprocess
from pathlib import Path

import pytest

from tests.keystores import LICENSE, OTHER_LICENSE
from tests.models.workshop import EDGES, MODEL, Workshop, drained, fed_pipe, pattern, safetensors
from tiktrue_keys.core.durable import NewFile
from tiktrue_keys.errors import (
    BusyError,
    ExpiredError,
    NotFoundError,
    RefusedError,
    RevokedError,
    TikTrueKeysError,
    UnavailableError,
    UsageError,
    WrongLicenseError,
)
from tiktrue_keys.models.file.decrypt import decrypt_model
from tiktrue_keys.models.file.encrypt import encrypt_model
from tiktrue_keys.models.storage.container_lock import locked_container


def encrypt(shop: Workshop, source: Path, **options: object) -> Path:
    made = encrypt_model(shop.manager, source, **{"key": MODEL, "license_key": LICENSE, **options})  # type: ignore[arg-type]
    assert isinstance(made.destination, Path)
    return made.destination


def plaintext(shop: Workshop, container: Path) -> bytes:
    result, out = drained(lambda sink: decrypt_model(shop.manager, container, sink, license_key=LICENSE))
    assert result.length == len(out)
    return out


@pytest.mark.parametrize("length", EDGES)
def test_what_was_encrypted_comes_out_again(shop: Workshop, length: int) -> None:
    source = shop.plain(length)
    assert plaintext(shop, encrypt(shop, source)) == source.read_bytes()


def test_bf16_safetensors_come_out_byte_for_byte(shop: Workshop) -> None:
    source = shop.folder / "model.safetensors"
    source.write_bytes(safetensors({"w": ("BF16", [3, 5], pattern(30)), "b": ("F8_E4M3", [7], pattern(7))}))
    result = encrypt_model(shop.manager, source, key=MODEL, license_key=LICENSE)
    assert result.kind == "safetensors"
    assert isinstance(result.destination, Path)
    assert plaintext(shop, result.destination) == source.read_bytes()


def test_the_result_says_what_was_made(shop: Workshop) -> None:
    seen: list[tuple[int, int | None]] = []
    result = encrypt_model(
        shop.manager,
        shop.plain(),
        key=MODEL,
        license_key=LICENSE,
        progress=lambda done, total: seen.append((done, total)),
    )
    made = shop.folder / "weights.bin.ttm"
    assert result.changed
    assert (result.destination, result.name, result.length) == (made, "weights.bin", 5000)
    assert result.size == made.stat().st_size
    assert made.stat().st_mode & 0o777 == 0o600
    assert seen[-1] == (5000, 5000)
    assert shop.names() == {"weights.bin", "weights.bin.ttm"}


def test_intent_and_outcome_are_recorded_and_the_file_registered(shop: Workshop) -> None:
    made = encrypt_model(shop.manager, shop.plain(), key=MODEL, license_key=LICENSE)
    assert shop.last_events(2) == [("intent", "ok"), ("encrypt", "ok")]
    record = list(shop.manager.audit_records())[-1]
    assert (record.key_id, record.detail["root"], record.operation_id) == (
        shop.key.key_id,
        made.root.hex(),
        made.operation_id,
    )
    (row,) = shop.manager.containers()
    assert (row.file_id, row.path, row.keys) == (made.file_id, str(made.destination), frozenset({shop.key.key_id}))
    assert row.signed
    assert not row.piped
    assert shop.manager.open_intents() == ()


def test_an_existing_output_is_refused_and_stays(shop: Workshop) -> None:
    source, target = shop.plain(), shop.folder / "out.ttm"
    target.write_bytes(b"precious")
    with pytest.raises(RefusedError, match="exists already"):
        encrypt(shop, source, destination=target)
    assert target.read_bytes() == b"precious"
    assert shop.manager.containers() == ()
    assert shop.last_events(1) == [("encrypt", "refused")]


def test_force_replaces_and_the_registry_lets_the_old_container_go(shop: Workshop) -> None:
    first = shop.sealed()
    old = shop.manager.containers()[0].file_id
    second = encrypt_model(shop.manager, shop.plain(77), key=MODEL, license_key=LICENSE, force=True)
    assert second.destination == first
    assert [row.file_id for row in shop.manager.containers()] == [second.file_id]
    assert old != second.file_id
    assert plaintext(shop, first) == pattern(77)


def test_force_over_a_container_waits_for_its_lock(shop: Workshop) -> None:
    first = shop.sealed()
    before = first.read_bytes()
    with locked_container(first, 1.0), pytest.raises(BusyError):
        encrypt(shop, shop.plain(), force=True, lock_timeout=0.05)
    assert first.read_bytes() == before


def test_force_over_another_kind_of_file(shop: Workshop) -> None:
    target = shop.folder / "weights.bin.ttm"
    target.write_bytes(b"TTM1 but no container")
    assert plaintext(shop, encrypt(shop, shop.plain(), force=True)) == pattern(5000)


@pytest.mark.parametrize("force", [False, True])
def test_a_model_is_not_encrypted_over_itself(shop: Workshop, force: bool) -> None:
    source = shop.plain()
    os.link(source, shop.folder / "same")
    for target in (source, shop.folder / "same"):
        with pytest.raises(RefusedError, match="the model itself"):
            encrypt(shop, source, destination=target, force=force)
    assert source.read_bytes() == pattern(5000)


def test_a_container_is_not_encrypted_again(shop: Workshop) -> None:
    sealed = shop.sealed()
    with pytest.raises(RefusedError, match="already") as caught:
        encrypt(shop, sealed)
    assert caught.value.remedy == "container-already"
    with fed_pipe(sealed.read_bytes()) as pipe, pytest.raises(RefusedError, match="already"):
        encrypt_model(shop.manager, pipe, shop.folder / "twice.ttm", key=MODEL, license_key=LICENSE)
    assert shop.names() == {"weights.bin.ttm"}


def test_what_is_no_file_is_refused(shop: Workshop) -> None:
    with pytest.raises(UsageError, match="is a folder"):
        encrypt(shop, shop.folder)
    with pytest.raises(RefusedError, match="neither a file nor a pipe"):
        encrypt(shop, Path("/dev/null"), destination=shop.folder / "out.ttm")
    with pytest.raises(NotFoundError):
        encrypt(shop, shop.folder / "absent")
    with pytest.raises(UsageError, match="no file descriptor"):
        encrypt_model(shop.manager, io.BytesIO(b"x"), shop.folder / "o.ttm", key=MODEL, license_key=LICENSE)
    assert shop.names() == set()


def test_a_path_that_is_not_utf8_is_refused(shop: Workshop) -> None:
    target = Path(os.fsdecode(os.fsencode(shop.folder) + b"/\xff.ttm"))
    with pytest.raises(RefusedError, match="UTF-8"):
        encrypt(shop, shop.plain(), destination=target)
    assert shop.names() == {"weights.bin"}


@pytest.mark.parametrize("change", ["longer", "shorter", "edited", "touched"])
def test_a_source_that_changes_meanwhile_is_refused(shop: Workshop, change: str) -> None:
    source = shop.plain(3 << 20)

    def change_it(done: int, total: int | None) -> None:  # the body is sealed, and the source is looked at afterwards
        if done != total:
            return
        if change == "longer":
            with source.open("ab") as file:
                file.write(b"more")
        elif change == "shorter":
            os.truncate(source, 1000)
        elif change == "edited":
            with source.open("r+b") as file:
                file.write(b"edit")
        os.utime(source, ns=(1, 1))

    with pytest.raises(UnavailableError, match="while it was read"):
        encrypt(shop, source, progress=change_it)
    assert shop.names() == {"weights.bin"}
    assert shop.manager.containers() == ()
    assert shop.last_events(2) == [("intent", "ok"), ("encrypt", "failed")]


def test_the_key_must_be_active(shop: Workshop) -> None:
    source, old = shop.plain(), shop.key.key_id
    shop.manager.rotate([MODEL], license_key=LICENSE)
    with pytest.raises(RefusedError, match="rotating"):
        encrypt(shop, source, key=old)
    shop.desk.clock.forward(days=31)
    with pytest.raises(ExpiredError):
        encrypt(shop, source)
    shop.manager.revoke(model=MODEL, reason="test")
    with pytest.raises(RevokedError):
        encrypt(shop, source)
    assert shop.names() == {"weights.bin"}
    assert shop.manager.containers() == ()


@pytest.mark.parametrize(("given", "error"), [(OTHER_LICENSE, WrongLicenseError), (None, UsageError), ("", UsageError)])
def test_the_license_must_be_the_right_one(shop: Workshop, given: str | None, error: type[TikTrueKeysError]) -> None:
    with pytest.raises(error):
        encrypt(shop, shop.plain(), license_key=given)
    assert shop.names() == {"weights.bin"}


class Stop(BaseException):
    """An interrupt, as Ctrl-C and SIGTERM raise one."""


@pytest.mark.parametrize("error", [KeyboardInterrupt, Stop])
@pytest.mark.parametrize("existing", [None, b"precious"])
def test_an_interrupt_leaves_nothing(shop: Workshop, error: type[BaseException], existing: bytes | None) -> None:
    source, target = shop.plain(40 << 20), shop.folder / "out.ttm"
    if existing is not None:
        target.write_bytes(existing)

    def progress(_: int, __: int | None) -> None:
        assert any(name.endswith(".tmp") for name in shop.names())
        raise error

    with pytest.raises(error):
        encrypt(shop, source, destination=target, force=True, progress=progress)
    assert shop.names() == {"weights.bin"} | ({"out.ttm"} if existing else set())
    assert existing is None or target.read_bytes() == existing
    assert shop.manager.containers() == ()
    assert shop.manager.open_intents() == ()
    assert shop.last_events(1) == [("encrypt", "failed")]


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting a small tmpfs takes root")
@pytest.mark.parametrize("prealloc", [True, False])
def test_a_full_disk_leaves_the_old_output(shop: Workshop, monkeypatch: pytest.MonkeyPatch, prealloc: bool) -> None:
    small = shop.folder / "small"
    small.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "none", small], check=True)
    try:
        target = small / "out.ttm"
        target.write_bytes(b"precious")
        if not prealloc:
            monkeypatch.delattr(os, "posix_fallocate")
        with pytest.raises(UnavailableError, match="no space left"):
            encrypt(shop, shop.plain(4 << 20), destination=target, force=True)
        assert [path.name for path in small.iterdir()] == ["out.ttm"]
        assert target.read_bytes() == b"precious"
        assert shop.last_events(1) == [("encrypt", "failed")]
    finally:
        subprocess.run(["umount", small], check=True)


def test_a_container_whose_folder_could_not_be_synced_stays_registered(
    shop: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    commit = NewFile.commit

    def commit_then_fail(self: NewFile, replace: bool) -> None:
        commit(self, replace)
        if self.path.suffix == ".ttm":
            raise UnavailableError("the folder could not be synced")

    monkeypatch.setattr(NewFile, "commit", commit_then_fail)
    with pytest.raises(UnavailableError):
        encrypt(shop, shop.plain())
    assert shop.paths() == ["weights.bin.ttm"]
    assert shop.last_events(1) == [("encrypt", "failed")]


def test_from_a_pipe_into_a_file(shop: Workshop) -> None:
    data = pattern(3 << 20)
    with fed_pipe(data) as pipe:
        made = encrypt_model(shop.manager, pipe, shop.folder / "p.ttm", key=MODEL, license_key=LICENSE, name="x.gguf")
    assert (made.source, made.name, made.kind, made.length) == (None, "x.gguf", "gguf", len(data))
    assert plaintext(shop, shop.folder / "p.ttm") == data


def test_a_pipe_has_no_name_to_derive_the_output_from(shop: Workshop) -> None:
    with fed_pipe(b"x") as pipe, pytest.raises(UsageError, match="no output name"):
        encrypt_model(shop.manager, pipe, key=MODEL, license_key=LICENSE)


@pytest.mark.parametrize("length", [0, 1, 3 << 20])
def test_into_a_pipe(shop: Workshop, length: int) -> None:
    source = shop.plain(length)
    made, out = drained(lambda sink: encrypt_model(shop.manager, source, sink, key=MODEL, license_key=LICENSE))
    assert made.destination is None
    assert made.size == len(out)
    (shop.folder / "saved.ttm").write_bytes(out)
    assert plaintext(shop, shop.folder / "saved.ttm") == pattern(length)


def test_a_container_in_a_pipe_is_registered_as_out_of_reach(shop: Workshop) -> None:
    source = shop.plain()
    drained(lambda sink: encrypt_model(shop.manager, source, sink, key=MODEL, license_key=LICENSE))
    (row,) = shop.manager.containers()
    assert (row.path, row.piped) == ("", True)


def test_a_reader_that_goes_away_is_a_broken_pipe(shop: Workshop) -> None:
    source = shop.plain(8 << 20)
    reading, writing = os.pipe()
    os.close(reading)
    with open(writing, "wb", buffering=0) as sink, pytest.raises(BrokenPipeError):
        encrypt_model(shop.manager, source, sink, key=MODEL, license_key=LICENSE)
    assert shop.manager.containers() == ()
    assert shop.last_events(1) == [("encrypt", "failed")]


def test_a_repeated_operation_id_gives_the_first_container(shop: Workshop) -> None:
    source = shop.plain()
    first = encrypt_model(shop.manager, source, key=MODEL, license_key=LICENSE, operation_id="nightly-1")
    again = encrypt_model(shop.manager, source, key=MODEL, license_key=LICENSE, operation_id="nightly-1")
    assert (again.file_id, again.root, again.changed) == (first.file_id, first.root, False)
    assert (again.length, again.size, again.destination) == (first.length, first.size, first.destination)
    encrypt(shop, source, force=True)
    with pytest.raises(RefusedError, match="another container"):
        encrypt(shop, source, operation_id="nightly-1")
    with pytest.raises(RefusedError, match="was used for encrypt"):
        decrypt_model(shop.manager, shop.folder / "weights.bin.ttm", license_key=LICENSE, operation_id="nightly-1")


def test_without_a_keystore(tmp_path: Path, shop: Workshop) -> None:
    from tiktrue_keys.core.manager import KeyManager

    with pytest.raises(NotFoundError), KeyManager(tmp_path / "none") as manager:
        encrypt_model(manager, shop.plain(), key=MODEL, license_key=LICENSE, operation_id="x")
    assert shop.names() == {"weights.bin"}
