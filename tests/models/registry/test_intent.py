"""Operation ids of file operations: repeated, one gives its first result; another request under its id is refused."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.keystores import LICENSE, answers, error_of
from tests.models.workshop import MODEL, Workshop
from tiktrue_keys.core.manager import KeyManager
from tiktrue_keys.errors import RefusedError
from tiktrue_keys.models.file.decrypt import decrypt_model
from tiktrue_keys.models.file.encrypt import encrypt_model
from tiktrue_keys.models.file.inspect import inspect_model
from tiktrue_keys.models.file.reencrypt import reencrypt_model
from tiktrue_keys.models.file.rewrap import rewrap_model
from tiktrue_keys.models.file.sign import sign_model
from tiktrue_keys.models.folder.decrypt import decrypt_folder
from tiktrue_keys.models.folder.encrypt import encrypt_folder
from tiktrue_keys.models.folder.reencrypt import reencrypt_folder
from tiktrue_keys.models.folder.request import FolderRequest
from tiktrue_keys.models.folder.tree import Selection
from tiktrue_keys.models.serving.execute import held_models

Do = Callable[[KeyManager, Path], Any]


@dataclass(frozen=True)
class FileOperation:
    """One operation in the folder of `stocked`, and requests that differ from it."""

    name: str
    do: Do
    differing: tuple[Do, ...]


def folder_encrypted(manager: KeyManager, *places: Path, license_key: str, key: str = MODEL, **options: Any) -> Any:
    patterns = [options.pop(name, ()) for name in ("include", "exclude", "plain")]
    request = FolderRequest(*places, key=key, license_key=license_key, selection=Selection(*patterns), **options)
    return encrypt_folder(manager, request)


def run(function: str, /, *words: str, **options: Any) -> Do:
    """An operation whose words name files in the folder."""
    functions: dict[str, Callable[..., Any]] = {
        "encrypt": partial(encrypt_model, key=MODEL),
        "decrypt": decrypt_model,
        "reencrypt": reencrypt_model,
        "rewrap": rewrap_model,
        "encrypt-folder": folder_encrypted,
        "decrypt-folder": decrypt_folder,
        "reencrypt-folder": reencrypt_folder,
    }

    def do(manager: KeyManager, folder: Path) -> Any:
        paths = [folder / word for word in words]
        return functions[function](manager, *paths, license_key=LICENSE, operation_id="nightly", **options)

    return do


def sign(name: str, root_of: str = "ci.ttm", **options: Any) -> Do:
    def do(manager: KeyManager, folder: Path) -> Any:
        root = inspect_model(folder / root_of).root
        return sign_model(
            manager, folder / name, expected_root=root, license_key=LICENSE, operation_id="nightly", **options
        )

    return do


def resume(source: str, target: str, state: str = "state") -> Do:
    def do(manager: KeyManager, folder: Path) -> Any:
        return run("encrypt-folder", source, target, resume=folder / state)(manager, folder)

    return do


OPERATIONS = (
    FileOperation(
        "encrypt",
        run("encrypt", "plain.bin"),
        (
            run("encrypt", "other.bin"),
            run("encrypt", "plain.bin", "elsewhere.ttm"),
            run("encrypt", "plain.bin", key="mistral"),
            run("encrypt", "plain.bin", name="x"),
            run("encrypt", "plain.bin", force=True),
        ),
    ),
    FileOperation(
        "decrypt",
        run("decrypt", "a.ttm", "out"),
        (
            run("decrypt", "b.ttm", "out"),
            run("decrypt", "a.ttm", "out-2"),
            run("decrypt", "a.ttm", "out", force=True),
            run("decrypt", "a.ttm", "out", allow_deprecated=True),
            run("decrypt", "a.ttm", "out", allow_unsigned=True),
            run("decrypt", "a.ttm", "out", expected_root=bytes(32)),
        ),
    ),
    FileOperation(
        "reencrypt",
        run("reencrypt", "a.ttm"),
        (
            run("reencrypt", "b.ttm"),
            run("reencrypt", "a.ttm", to="mistral"),
            run("reencrypt", "a.ttm", recover_revoked=True),
            run("reencrypt", "a.ttm", allow_unsigned=True),
        ),
    ),
    FileOperation(
        "rewrap",
        run("rewrap", "old.ttm"),
        (run("rewrap", "a.ttm"), run("rewrap", "old-2.ttm"), run("rewrap", "old.ttm", to=MODEL)),
    ),
    FileOperation(
        "sign",
        sign("ci.ttm"),
        (sign("ci-2.ttm", "ci-2.ttm"), sign("ci.ttm", "ci-2.ttm"), sign("ci.ttm", allow_deprecated=True)),
    ),
    FileOperation(
        "encrypt-folder",
        run("encrypt-folder", "source"),
        (
            run("encrypt-folder", "source-2"),
            run("encrypt-folder", "source", "target"),
            run("encrypt-folder", "source", key="mistral"),
            run("encrypt-folder", "source", include=["*.bin"]),
            run("encrypt-folder", "source", exclude=["*.txt"]),
            run("encrypt-folder", "source", plain=["*.txt"]),
            run("encrypt-folder", "source", force=True),
        ),
    ),
    FileOperation(
        "encrypt-folder-resumable",
        resume("source", "target"),
        (resume("source", "target-2"), resume("source", "target", "state-2"), resume("source-2", "target")),
    ),
    FileOperation(
        "decrypt-folder",
        run("decrypt-folder", "made.ttm", "out"),
        (
            run("decrypt-folder", "made-2.ttm", "out"),
            run("decrypt-folder", "made.ttm", "out-2"),
            run("decrypt-folder", "made.ttm", "out", force=True),
        ),
    ),
    FileOperation(
        "reencrypt-folder",
        run("reencrypt-folder", "made.ttm"),
        (run("reencrypt-folder", "made-2.ttm"), run("reencrypt-folder", "made.ttm", recover_revoked=True)),
    ),
)
each_operation = pytest.mark.parametrize("operation", OPERATIONS, ids=lambda operation: operation.name)


@pytest.fixture
def stocked(shop: Workshop) -> Workshop:
    """Models, containers and folders of every sort; old.ttm and old-2.ttm are under a key that was rotated."""
    shop.manager.generate("mistral", license_key=LICENSE)
    for name in ("old", "old-2"):
        shop.sealed(100, name)
    shop.manager.rotate([MODEL], license_key=LICENSE)
    for name in ("a", "b"):
        shop.sealed(100, name)
    for name in ("ci.ttm", "ci-2.ttm"):
        shop.unsigned(100, name)
    for name in ("plain.bin", "other.bin", "source/one.bin", "source/two.txt", "source-2/one.bin"):
        (shop.folder / name).parent.mkdir(exist_ok=True)
        shop.plain(100, name)
    for name in ("made.ttm", "made-2.ttm"):
        folder_encrypted(shop.manager, shop.folder / "source", shop.folder / name, license_key=LICENSE)
    return shop


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def must_be_refused(shop: Workshop, *requests: Do) -> None:
    """Each is refused, naming the operation id; nothing changes, and the refusal's record is all that comes of it."""
    before, files = answers(shop.manager), contents(shop.folder)
    for do in requests:
        error = error_of(partial(do, shop.manager, shop.folder))
        assert isinstance(error, RefusedError), error
        assert error.message.startswith("operation nightly was used for")
        after = answers(shop.manager)
        assert [after[name] for name in ("keys", "containers", "intents")] == [
            before[name] for name in ("keys", "containers", "intents")
        ]
        assert contents(shop.folder) == files
        (record,) = after["records"][len(before["records"]) :]
        assert (record.outcome, record.operation_id) == ("refused", "nightly")
        before = after


@each_operation
def test_repeating_it_gives_the_first_result_and_changes_nothing(stocked: Workshop, operation: FileOperation) -> None:
    first = operation.do(stocked.manager, stocked.folder)
    size, files = stocked.manager.audit_size(), contents(stocked.folder)
    again = operation.do(stocked.manager, stocked.folder)
    assert (first.changed, again.changed, again.operation_id) == (True, False, "nightly")
    for member in ("file_id", "folder_id", "destination", "path", "length", "root", "keys_after"):
        assert getattr(again, member, None) == getattr(first, member, None), member
    assert (stocked.manager.audit_size(), contents(stocked.folder)) == (size, files)


@each_operation
def test_another_request_may_not_take_its_id(stocked: Workshop, operation: FileOperation) -> None:
    operation.do(stocked.manager, stocked.folder)
    must_be_refused(
        stocked,
        *operation.differing,
        *(other.do for other in OPERATIONS if other.name != operation.name),
        lambda manager, _: manager.generate("new", no_license=True, operation_id="nightly"),
    )


@each_operation
def test_it_may_not_take_another_operations_id(stocked: Workshop, operation: FileOperation) -> None:
    stocked.manager.generate("new", no_license=True, operation_id="nightly")
    must_be_refused(stocked, operation.do)


class TestIntoAPipe:
    """What leaves the program again each time takes its id all the same."""

    def test_decrypt(self, stocked: Workshop) -> None:
        for _ in range(2):
            assert self.decrypted(stocked, "a.ttm")
        must_be_refused(stocked, lambda *_: self.decrypted(stocked, "b.ttm"))
        must_be_refused(stocked, run("decrypt", "a.ttm", "out"))

    def decrypted(self, shop: Workshop, name: str) -> bytes:
        with open(shop.folder.parent / "pipe", "wb") as out:
            decrypt_model(shop.manager, shop.folder / name, out, license_key=LICENSE, operation_id="nightly")
        return (shop.folder.parent / "pipe").read_bytes()

    def test_exec(self, stocked: Workshop) -> None:
        for _ in range(2):
            self.hold(stocked, "a.ttm", "b.ttm")
        must_be_refused(stocked, lambda *_: self.hold(stocked, "a.ttm"))
        must_be_refused(stocked, lambda *_: self.hold(stocked, "a.ttm", "b.ttm", program="another"))
        must_be_refused(stocked, run("decrypt", "a.ttm", "out"))

    def hold(self, shop: Workshop, *names: str, program: str = "server") -> None:
        if not hasattr(os, "memfd_create"):
            pytest.skip("there are no files in memory")
        paths = [shop.folder / name for name in names]
        with held_models(shop.manager, paths, program=program, license_key=LICENSE, operation_id="nightly") as held:
            assert [model.length for model in held] == [100] * len(names)

    def test_encrypt(self, stocked: Workshop) -> None:
        source = stocked.folder / "plain.bin"
        with open(stocked.folder.parent / "pipe", "wb") as out:
            encrypt_model(stocked.manager, source, out, key=MODEL, license_key=LICENSE, operation_id="nightly")
            error = error_of(
                lambda: encrypt_model(
                    stocked.manager, source, out, key=MODEL, license_key=LICENSE, operation_id="nightly"
                )
            )
        assert isinstance(error, RefusedError)
        assert "wrote to a pipe" in error.message
        must_be_refused(stocked, run("encrypt", "plain.bin"))


def test_the_same_place_by_another_spelling_is_the_same_request(
    stocked: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    run("rewrap", "old.ttm")(stocked.manager, stocked.folder)
    monkeypatch.chdir(stocked.folder)
    assert not rewrap_model(stocked.manager, "old.ttm", license_key=LICENSE, operation_id="nightly").changed


def test_a_failed_operation_leaves_its_id_to_any_request(stocked: Workshop) -> None:
    assert error_of(lambda: run("encrypt", "plain.bin", key="nothing")(stocked.manager, stocked.folder)) is not None
    assert run("encrypt", "other.bin")(stocked.manager, stocked.folder).changed
