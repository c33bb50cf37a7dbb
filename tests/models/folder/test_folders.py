"""Encrypted folders: what goes in, what comes out, what the manifest finds, and that a folder is whole or not there."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from tests.counting import COUNTS_IO, bytes_read
from tests.keystores import LICENSE, OTHER_LICENSE
from tests.models.file.test_decrypt import edit
from tests.models.file.test_rewrap import rotated, slots
from tests.models.workshop import MODEL, Workshop, folder_request, other_manager, pattern, signed_again
from tiktrue_keys.core.canonical import canonical_json
from tiktrue_keys.core.secret import SecretBuffer
from tiktrue_keys.errors import (
    IntegrityError,
    NotFoundError,
    RefusedError,
    UnavailableError,
    UsageError,
    WrongLicenseError,
)
from tiktrue_keys.models.container.seal import keystore_signer, seal_container
from tiktrue_keys.models.file.reencrypt import reencrypt_model
from tiktrue_keys.models.folder.decrypt import DecryptedFolder, decrypt_folder
from tiktrue_keys.models.folder.encrypt import EncryptedFolder, encrypt_folder
from tiktrue_keys.models.folder.inspect import inspect_folder
from tiktrue_keys.models.folder.manifest_file import read_manifest
from tiktrue_keys.models.folder.plan import plan_folder
from tiktrue_keys.models.folder.reencrypt import reencrypt_folder
from tiktrue_keys.models.folder.rewrap import rewrap_folder
from tiktrue_keys.models.folder.verify import verify_folder
from tiktrue_keys.models.format.header_slots import MAGIC
from tiktrue_keys.models.format.manifest import MANIFEST_NAME, SIGNATURE_KIND, SignedManifest

FILES = {"config.json": 30, "tokenizer/vocab.txt": 0, "model-1.safetensors": 3 << 20, "model-2.safetensors": 2000}


@pytest.fixture
def source(shop: Workshop) -> Path:
    folder = shop.folder / "llama"
    for name, length in FILES.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(pattern(length))
    return folder


def encrypt(shop: Workshop, source: Path, **options: Any) -> EncryptedFolder[Path]:
    return encrypt_folder(shop.manager, folder_request(source, **options))


def decrypt(shop: Workshop, source: Path, **options: Any) -> DecryptedFolder:
    return decrypt_folder(shop.manager, source, **{"license_key": LICENSE, **options})


def tree(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if not path.is_dir()}


def hidden(shop: Workshop) -> list[str]:
    return [path.name for path in shop.folder.iterdir() if path.name.startswith(".")]


def test_a_folder_comes_out_again(shop: Workshop, source: Path) -> None:
    made = encrypt(shop, source, plain=["config.json"])
    assert made.destination == shop.folder / "llama.ttm"
    assert set(tree(made.destination)) == {
        MANIFEST_NAME,
        "config.json",
        "tokenizer/vocab.txt.ttm",
        "model-1.safetensors.ttm",
        "model-2.safetensors.ttm",
    }
    assert (made.destination / "config.json").read_bytes() == pattern(30)
    opened = decrypt(shop, made.destination, destination=shop.folder / "out")
    assert tree(shop.folder / "out") == tree(source)
    assert (opened.length, made.length) == (sum(FILES.values()),) * 2
    assert (len(opened.files), opened.plain) == (3, ("config.json",))
    assert hidden(shop) == []


def test_the_registry_knows_where_the_files_ended_up(shop: Workshop, source: Path) -> None:
    made = encrypt(shop, source)
    rows = {row.path for row in shop.manager.containers()}
    assert rows == {str(file.destination) for file in made.files}
    assert all(Path(path).is_file() for path in rows)
    assert shop.manager.open_intents() == ()


def test_globs(shop: Workshop, source: Path) -> None:
    made = encrypt(shop, source, include=["*.safetensors", "tokenizer/"], exclude=["*-2.*"], plain=["config.json"])
    assert set(tree(made.destination)) == {
        MANIFEST_NAME,
        "config.json",
        "model-1.safetensors.ttm",
        "tokenizer/vocab.txt.ttm",
    }
    assert made.left_out == ("model-2.safetensors",)
    with pytest.raises(RefusedError, match="no file to encrypt"):
        encrypt(shop, source, destination=shop.folder / "none", include=["*.gguf"])


def test_progress_covers_the_whole(shop: Workshop, source: Path) -> None:
    seen: list[tuple[int, int | None]] = []
    report = lambda done, total: seen.append((done, total))  # noqa: E731
    made = encrypt(shop, source, plain=["config.json"], progress=report)
    verify_folder(shop.manager, made.destination, license_key=LICENSE, progress=report)
    decrypt(shop, made.destination, destination=shop.folder / "out", progress=report)
    total = sum(FILES.values())
    assert {all_in_all for _, all_in_all in seen} == {total}
    assert [done for done, _ in seen].count(total) >= 3
    assert all(done <= total for done, _ in seen)


@pytest.mark.parametrize("kind", ["outside", "folder", "fifo", "dangling"])
def test_what_is_no_file_of_the_folder_is_refused(shop: Workshop, source: Path, kind: str) -> None:
    odd = source / "odd"
    if kind == "outside":
        odd.symlink_to(shop.plain())
    elif kind == "folder":
        odd.symlink_to(source / "tokenizer")
    elif kind == "fifo":
        os.mkfifo(odd)
    else:
        odd.symlink_to("nowhere")
    with pytest.raises((RefusedError, NotFoundError)):
        encrypt(shop, source)
    assert encrypt(shop, source, exclude=["odd"]).left_out == ("odd",)


def test_a_link_inside_the_folder_is_the_file(shop: Workshop, source: Path) -> None:
    (source / "latest").symlink_to("model-2.safetensors")
    made = encrypt(shop, source, plain=["latest"])
    assert (made.destination / "latest").read_bytes() == pattern(2000)


def test_names_that_no_manifest_may_have(shop: Workshop, source: Path) -> None:
    (source / "a\nb").write_bytes(b"")
    with pytest.raises(RefusedError, match="not a valid path in a manifest"):
        encrypt(shop, source)


def test_two_files_at_one_place(shop: Workshop, source: Path) -> None:
    (source / "config.json.ttm").write_bytes(b"not a container")
    with pytest.raises(RefusedError, match="the same path"):
        encrypt(shop, source, plain=["config.json.ttm"])
    assert hidden(shop) == []
    assert shop.manager.containers() == ()


def test_a_place_that_is_taken(shop: Workshop, source: Path) -> None:
    target = shop.folder / "llama.ttm"
    target.mkdir()
    (target / "mine").write_bytes(b"precious")
    with pytest.raises(RefusedError, match="exists already"):
        encrypt(shop, source)
    with pytest.raises(RefusedError, match="holds mine"):
        encrypt(shop, source, force=True)
    assert tree(target) == {"mine": b"precious"}
    with pytest.raises(RefusedError, match="is not a folder"):
        encrypt(shop, source, destination=shop.plain(), force=True)
    with pytest.raises(RefusedError, match="is inside the folder"):
        encrypt(shop, source, destination=source / "inside")


def test_force_replaces_an_encrypted_folder_and_nothing_else(shop: Workshop, source: Path) -> None:
    first = encrypt(shop, source)
    (source / "model-2.safetensors").unlink()
    second = encrypt(shop, source, force=True)
    assert first.folder_id != second.folder_id
    assert not (second.destination / "model-2.safetensors.ttm").exists()
    assert {row.path for row in shop.manager.containers()} == {str(file.destination) for file in second.files}
    assert hidden(shop) == []
    (second.destination / "mine").write_bytes(b"precious")
    with pytest.raises(RefusedError, match="holds mine"):
        encrypt(shop, source, force=True)


def test_force_of_a_decryption_replaces_only_its_own_files(shop: Workshop, source: Path) -> None:
    made = encrypt(shop, source)
    (source / "config.json").write_bytes(b"older")
    decrypt(shop, made.destination, force=True)
    assert (source / "config.json").read_bytes() == pattern(30)
    (source / "notes").write_bytes(b"precious")
    with pytest.raises(RefusedError, match="holds notes"):
        decrypt(shop, made.destination, force=True)
    with pytest.raises(RefusedError, match="exists already"):
        decrypt(shop, made.destination)


KEPT = {
    "a container": MAGIC + bytes(96),
    "a share": b"# tiktrue-keys escrow 16084: share 2 of 5, any 3 recover\n",
    "a manifest": b'{"issuer":"' + b"ab" * 32 + b'","manifest":{"files":[]}}',
}


@pytest.mark.parametrize("kept", KEPT)
def test_force_of_a_decryption_asks_about_every_file(shop: Workshop, source: Path, kept: str) -> None:
    made = encrypt(shop, source)
    (source / "tokenizer" / "vocab.txt").write_bytes(KEPT[kept])
    before = tree(source)

    with pytest.raises(RefusedError, match=r"vocab\.txt is ") as caught:
        decrypt(shop, made.destination, force=True)

    assert (caught.value.remedy, tree(source), hidden(shop)) == ("not-replaced", before, [])


@pytest.mark.parametrize("kept", KEPT)
def test_force_of_an_encryption_asks_about_every_plain_file(shop: Workshop, source: Path, kept: str) -> None:
    made = encrypt(shop, source, plain=["config.json"])
    (made.destination / "config.json").write_bytes(KEPT[kept])
    before = tree(made.destination)

    with pytest.raises(RefusedError, match=r"config\.json is "):
        encrypt(shop, source, force=True)
    with pytest.raises(RefusedError, match=r"config\.json is "):
        plan_folder(shop.manager, folder_request(source, force=True))

    assert (tree(made.destination), hidden(shop)) == (before, [])


@pytest.mark.parametrize("force", [False, True])
@pytest.mark.parametrize("operation", [encrypt, decrypt])
def test_a_file_that_arrives_meanwhile_is_not_lost(
    shop: Workshop, source: Path, operation: Callable[..., object], force: bool
) -> None:
    read = source if operation is encrypt else encrypt(shop, source, destination=shop.folder / "made").destination
    target = shop.folder / "target"
    if force:
        operation(shop, read, destination=target)

    def progress(done: int, total: int | None) -> None:
        target.mkdir(exist_ok=True)
        (target / "mine").write_bytes(b"precious")

    with pytest.raises(RefusedError, match="holds mine" if force else "exists already"):
        operation(shop, read, destination=target, force=force, progress=progress)

    assert ((target / "mine").read_bytes(), hidden(shop)) == (b"precious", [])


@pytest.mark.parametrize("is_signed", [True, False])
def test_force_removes_only_what_a_trusted_manifest_lists(
    shop: Workshop, source: Path, tmp_path: Path, is_signed: bool
) -> None:
    """A manifest of an unknown issuer, and one that this keystore seems to have signed."""
    made = encrypt(shop, source)
    with other_manager(tmp_path / "another") as stranger:
        issuer = stranger if is_signed else shop.manager
        forged = SignedManifest.make(
            read_manifest(made.destination).manifest, issuer.issuer, lambda data: stranger.sign(SIGNATURE_KIND, data)
        )
    (made.destination / MANIFEST_NAME).write_bytes(forged.encode())
    before = tree(made.destination)

    with pytest.raises(RefusedError, match="which the new folder does not replace"):
        encrypt(shop, source, force=True)

    assert (tree(made.destination), hidden(shop)) == (before, [])


@pytest.mark.parametrize("force", [False, True])
def test_an_interrupt_leaves_nothing(shop: Workshop, source: Path, force: bool) -> None:
    before = tree(encrypt(shop, source).destination) if force else {}
    rows = shop.manager.containers()

    def progress(done: int, _: int | None) -> None:
        if done > FILES["config.json"]:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        encrypt(shop, source, force=force, progress=progress)
    assert (tree(shop.folder / "llama.ttm") if force else {}) == before
    assert (shop.folder / "llama.ttm").exists() == force
    assert hidden(shop) == []
    assert shop.manager.containers() == rows
    assert shop.manager.open_intents() == ()


def test_an_interrupted_decryption_leaves_no_plaintext(shop: Workshop, source: Path) -> None:
    made = encrypt(shop, source)

    def progress(done: int, _: int | None) -> None:
        if done > FILES["config.json"]:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        decrypt(shop, made.destination, destination=shop.folder / "out", progress=progress)
    assert hidden(shop) == []
    assert not (shop.folder / "out").exists()
    assert shop.last_events(1) == [("decrypt-folder", "failed")]


def test_a_failing_swap_puts_the_old_folder_back(shop: Workshop, source: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = encrypt(shop, source)
    before, rename = tree(made.destination), os.rename

    def fail(old: Any, new: Any, **options: Any) -> None:
        if str(old).endswith(".tmp") and Path(new) == made.destination:
            raise OSError(5, "Input/output error")
        rename(old, new, **options)

    monkeypatch.setattr(os, "rename", fail)
    with pytest.raises(UnavailableError):
        encrypt(shop, source, force=True)
    assert tree(made.destination) == before
    assert hidden(shop) == []
    assert {row.path for row in shop.manager.containers()} == {str(file.destination) for file in made.files}


def test_a_container_in_the_source_stops_everything(shop: Workshop, source: Path) -> None:
    shutil.copy(shop.sealed(10, "x"), source / "x.ttm")
    with pytest.raises(RefusedError, match="container already"):
        encrypt(shop, source)
    assert not (shop.folder / "llama.ttm").exists()
    assert hidden(shop) == []


def test_the_license_is_asked_for_once_and_before_anything_is_made(shop: Workshop, source: Path) -> None:
    asked: list[str] = []

    def ask() -> str:
        asked.append(LICENSE)
        return LICENSE

    made = encrypt(shop, source, license_key=ask)
    decrypt(shop, made.destination, destination=shop.folder / "out", license_key=ask)
    assert len(asked) == 2
    with pytest.raises(WrongLicenseError):
        encrypt(shop, source, destination=shop.folder / "other.ttm", license_key=OTHER_LICENSE)
    assert hidden(shop) == []


def swap(folder: Path, first: str, second: str) -> None:
    os.rename(folder / first, folder / "aside")
    os.rename(folder / second, folder / first)
    os.rename(folder / "aside", folder / second)


def link_instead(path: Path, elsewhere: Path) -> None:
    path.rename(elsewhere)
    path.symlink_to(elsewhere)


def set_manifest(folder: Path, change: Callable[[dict[str, Any]], None]) -> None:
    members = json.loads((folder / MANIFEST_NAME).read_bytes())
    change(members)
    (folder / MANIFEST_NAME).write_bytes(canonical_json(members))


ONE, TWO = "model-1.safetensors.ttm", "model-2.safetensors.ttm"
TAMPERING: dict[str, tuple[Callable[[Path], object], str]] = {
    "removed": (lambda folder: (folder / ONE).unlink(), "missing"),
    "added": (lambda folder: (folder / "more").write_bytes(b"x"), "not in the manifest"),
    "added link": (lambda folder: (folder / "more").symlink_to("config.json"), "not in the manifest"),
    "renamed": (lambda folder: (folder / ONE).rename(folder / "three.ttm"), "renamed or swapped: three.ttm"),
    "swapped": (lambda folder: swap(folder, ONE, TWO), "renamed or swapped"),
    "duplicated": (lambda folder: shutil.copy(folder / ONE, folder / TWO), "renamed or swapped"),
    "a link instead": (
        lambda folder: link_instead(folder / ONE, folder.parent / "x"),
        "another file",
    ),
    "cut": (lambda folder: os.truncate(folder / ONE, 70_000), "cut off"),
    "edited": (lambda folder: edit(folder / ONE, 100_000, b"\0\0\0\0"), "segment 0"),
    "plain edited": (lambda folder: edit(folder / "config.json", 3, b"!"), "another file"),
    "plain longer": (lambda folder: edit(folder / "config.json", 30, b"!"), "another file"),
    "manifest removed": (lambda folder: (folder / MANIFEST_NAME).unlink(), "has no tiktrue-manifest"),
    "manifest edited": (lambda folder: set_manifest(folder, lambda m: m["manifest"]["files"].pop()), "signature"),
    "manifest renamed": (
        lambda folder: set_manifest(folder, lambda m: m["manifest"].update(model_id="other")),
        "signature",
    ),
    "manifest not canonical": (
        lambda folder: (folder / MANIFEST_NAME).write_bytes((folder / MANIFEST_NAME).read_bytes() + b"\n"),
        "canonical",
    ),
    "manifest cut": (lambda folder: os.truncate(folder / MANIFEST_NAME, 100), "JSON"),
}


@pytest.mark.parametrize("how", TAMPERING)
def test_a_folder_that_was_changed_is_refused(shop: Workshop, source: Path, how: str) -> None:
    folder = encrypt(shop, source, plain=["config.json"]).destination
    tamper, words = TAMPERING[how]
    tamper(folder)
    with pytest.raises((IntegrityError, NotFoundError), match=words):
        verify_folder(shop.manager, folder, license_key=LICENSE)
    with pytest.raises((IntegrityError, NotFoundError), match=words):
        decrypt(shop, folder, destination=shop.folder / "out")
    assert not (shop.folder / "out").exists()
    assert hidden(shop) == []


def test_an_older_file_of_the_same_name_is_found(shop: Workshop, source: Path) -> None:
    """Only the root tells: both are ours, both are signed, both carry the same name."""
    old = encrypt(shop, source).destination
    shutil.copytree(old, shop.folder / "kept")
    new = encrypt(shop, source, force=True).destination
    shutil.copy(shop.folder / "kept" / ONE, new / ONE)
    with pytest.raises(IntegrityError, match="another file than the manifest lists: model-1"):
        verify_folder(shop.manager, new, license_key=LICENSE)


def test_a_file_that_was_encrypted_anew_under_its_old_id(shop: Workshop, source: Path) -> None:
    folder = encrypt(shop, source).destination
    outside = Path(shutil.copy(folder / ONE, shop.folder / ONE))
    reencrypt_model(shop.manager, outside, license_key=LICENSE)
    shutil.copy(outside, folder / ONE)
    with pytest.raises(IntegrityError, match="another file"):
        decrypt(shop, folder, destination=shop.folder / "out")


def test_another_container_of_the_same_id_that_we_signed(shop: Workshop, source: Path) -> None:
    """No command makes one; were there one, only the root in the manifest tells it from the listed one."""
    folder = encrypt(shop, source).destination
    data_key = shop.data_key(folder / ONE)
    header = slots(folder / ONE).current.header
    with SecretBuffer.copy_of(data_key) as secret, shop.plain(3 << 20).open("rb") as plain:
        again = replace(header, length=None)
        with (folder / ONE).open("w+b") as out:
            signer = keystore_signer(shop.manager, "llama")
            seal_container(plain.fileno(), out.fileno(), again, secret.view, signer=signer)
    with pytest.raises(IntegrityError, match="another container than the manifest lists"):
        decrypt(shop, folder, destination=shop.folder / "out")
    with pytest.raises(IntegrityError, match="another container than the manifest lists"):
        verify_folder(shop.manager, folder, license_key=LICENSE)


def sign_manifest(shop: Workshop, folder: Path, change: Callable[[Any], object]) -> None:
    (folder / MANIFEST_NAME).write_bytes(signed_again(shop, (folder / MANIFEST_NAME).read_bytes(), change))


LIES: dict[str, Callable[[Any], object]] = {
    "longer container": lambda manifest: manifest["files"][1].update(length=2**52),
    "impossible length of all": lambda manifest: manifest["files"][1].update(length=2**53 - 1),
    "shorter container": lambda manifest: manifest["files"][1].update(length=1),
    "longest plain file": lambda manifest: manifest["files"][0].update(length=2**53 - 1),
    "another model": lambda manifest: manifest.update(model_id="other"),
    "another root": lambda manifest: manifest["files"][1].update(root="0" * 64),
}


@pytest.mark.parametrize("lie", LIES)
def test_a_manifest_that_does_not_agree_with_its_files(shop: Workshop, source: Path, lie: str) -> None:
    """Signed by a keystore that we trust: the files themselves must be compared with what it says."""
    folder = encrypt(shop, source, plain=["config.json"]).destination
    sign_manifest(shop, folder, LIES[lie])
    for act in (
        lambda: decrypt(shop, folder, destination=shop.folder / "out"),
        lambda: verify_folder(shop.manager, folder, license_key=LICENSE),
        lambda: reencrypt_folder(shop.manager, folder, license_key=LICENSE),
    ):
        with pytest.raises(IntegrityError, match="manifest"):
            act()
    assert hidden(shop) == []
    assert sorted(path.name for path in shop.folder.iterdir()) == ["llama", "llama.ttm"]
    if lie in ("longer container", "shorter container"):
        failed = rewrap_folder(shop.manager, folder, license_key=LICENSE).failed
        assert [str(each.error) for each in failed] == [f"{folder / ONE} is another container than the manifest lists"]


@COUNTS_IO
def test_a_plain_file_of_another_size_is_not_read(shop: Workshop, source: Path) -> None:
    folder = encrypt(shop, source, plain=["config.json"]).destination
    os.truncate(folder / "config.json", 1 << 30)
    before = bytes_read()
    assert inspect_folder(folder).differences.changed == ("config.json",)
    assert bytes_read() - before < 1 << 20


@pytest.mark.parametrize("path", ["../out", "/etc/x", "a/../../b", "a//b", "", ".", "a\\b", "a\x00b", "a/"])
def test_a_hostile_manifest_leads_nowhere(shop: Workshop, source: Path, path: str) -> None:
    """Signed by a keystore that we trust, so that only the path itself can stop it."""
    folder = encrypt(shop, source, include=["config.json"]).destination
    members = json.loads((folder / MANIFEST_NAME).read_bytes())
    members["manifest"]["files"][0]["path"] = path
    signature = shop.manager.sign("manifest", canonical_json(members["manifest"]))
    members["signature"] = signature.hex()
    (folder / MANIFEST_NAME).write_bytes(canonical_json(members))
    with pytest.raises(IntegrityError, match="malformed"):
        decrypt(shop, folder, destination=shop.folder / "out")
    assert not (shop.folder / "out").exists()


def test_another_keystores_folder(shop: Workshop, source: Path, tmp_path: Path) -> None:
    folder = encrypt(shop, source).destination
    with other_manager(tmp_path / "other") as stranger, pytest.raises(IntegrityError, match="another keystore"):
        verify_folder(stranger, folder, license_key=LICENSE)


def test_inspection_names_every_difference(shop: Workshop, source: Path) -> None:
    folder = encrypt(shop, source, plain=["config.json"]).destination
    seen = inspect_folder(folder)
    assert (seen.name, seen.model_id, seen.signature, seen.length) == ("llama", MODEL, "valid", sum(FILES.values()))
    assert not seen.differences.sentence()
    assert [entry.path for entry in seen.files] == sorted(FILES)
    (folder / "tokenizer/vocab.txt.ttm").unlink()
    (folder / "more").write_bytes(b"")
    swap(folder, ONE, TWO)
    (folder / "config.json").write_bytes(b"?")
    seen = inspect_folder(folder)
    assert seen.differences.missing == ("tokenizer/vocab.txt.ttm",)
    assert seen.differences.added == ("more",)
    assert set(seen.differences.moved) == {ONE, TWO}
    assert seen.differences.changed == ("config.json",)
    assert json.loads(json.dumps(seen.to_json()))["moved"]
    assert len(seen.verified) == 2


def test_a_rewrap_leaves_the_manifest_as_it_is(shop: Workshop, source: Path) -> None:
    folder = encrypt(shop, source).destination
    manifest = (folder / MANIFEST_NAME).read_bytes()
    _, new = rotated(shop)
    batch = rewrap_folder(shop.manager, folder, license_key=LICENSE)
    assert (len(batch.done), batch.failed, batch.changed) == (4, (), True)
    assert slots(folder / ONE).current.header.key_ids == {new}
    assert (folder / MANIFEST_NAME).read_bytes() == manifest
    assert verify_folder(shop.manager, folder, license_key=LICENSE).length == sum(FILES.values())


def test_a_rewrap_goes_on_over_what_is_broken(shop: Workshop, source: Path) -> None:
    folder = encrypt(shop, source).destination
    shutil.copy(folder / TWO, folder / ONE)
    rotated(shop)
    batch = rewrap_folder(shop.manager, folder, license_key=LICENSE)
    assert len(batch.done) == 3
    assert [type(item.error) for item in batch.failed] == [IntegrityError]


def test_what_is_no_folder(shop: Workshop, source: Path) -> None:
    for operation in (encrypt, decrypt):
        with pytest.raises(UsageError, match="is not a folder"):
            operation(shop, shop.plain())
        with pytest.raises(NotFoundError):
            operation(shop, shop.folder / "absent")
    with pytest.raises(UsageError, match="output"):
        decrypt(shop, source)
    with pytest.raises(NotFoundError, match="has no tiktrue-manifest"):
        decrypt(shop, source, destination=shop.folder / "out")


def test_a_plain_file_that_changes_meanwhile(shop: Workshop, source: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read, times = os.read, count(1)

    def read_and_touch(fd: int, length: int) -> bytes:
        data = read(fd, length)
        now = next(times)
        os.utime(source / "config.json", ns=(now, now))
        return data

    monkeypatch.setattr(os, "read", read_and_touch)
    with pytest.raises(UnavailableError, match="while it was read"):
        encrypt(shop, source, plain=["config.json"])
    assert hidden(shop) == []
