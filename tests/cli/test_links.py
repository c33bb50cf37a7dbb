"""A symbolic link where the program keeps or makes a file: refused, and what it points to is left as it is."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from tests.program import Program

PRECIOUS = b"somebody's own work"
NOBODY = 65_534


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Program:
    """A keystore, a container and a backup; for tests that put everything back."""
    program = Program(tmp_path_factory.mktemp("shop"))
    (program.folder / "model.bin").write_bytes(bytes(1_000))
    program.generate("llama")
    program.ok("encrypt-model", "model.bin", "--key", "llama")
    program.ok("fleet", "init", "admin")
    program.ok("backup", "earlier.db")
    return program


KEPT = {
    "the keystore's folder": "keystore",
    "the keystore": "keystore/keystore.db",
    "the lock": "keystore/keystore.lock",
    "the host secret": "host/secret",
    "the mark": "host/*.mark",
}


@pytest.mark.parametrize("place", KEPT.values(), ids=KEPT.keys())
def test_what_it_keeps_is_no_link(shop: Program, place: str) -> None:
    (path,) = shop.folder.glob(place)
    moved = path.rename(shop.folder / "elsewhere")
    before = moved.read_bytes() if moved.is_file() else b""
    path.symlink_to(moved)
    try:
        found = shop.json("generate", "mistral", code=13)
    finally:
        path.unlink()
        moved.rename(path)
    assert str(path) in found["error"]["message"]
    assert "symbolic link" in found["error"]["message"]
    assert path.is_dir() or path.read_bytes() == before
    assert [key["model_id"] for key in shop.json("list")["result"]["keys"]] == ["llama"]


OUTPUTS = {
    "encrypt-model": ["encrypt-model", "model.bin", "-o", "link", "--key", "llama"],
    "decrypt-model": ["decrypt-model", "model.bin.ttm", "-o", "link"],
    "backup": ["backup", "link"],
    "export-public": ["export-public", "llama", "-o", "link"],
    "fleet card": ["fleet", "card", "-o", "link"],
    "audit export": ["audit", "export", "--format", "jsonl", "-o", "link"],
    "metrics": ["metrics", "--textfile", "link"],
}
WITHOUT_FORCE = ("metrics", "audit")
LINKS = [*((words, "precious") for words in OUTPUTS.values()), (OUTPUTS["encrypt-model"], "nowhere")]


@pytest.mark.parametrize(("words", "target"), LINKS, ids=[*OUTPUTS, "dangling"])
def test_what_it_makes_goes_through_no_link(shop: Program, words: list[str], target: str) -> None:
    (shop.folder / "precious").write_bytes(PRECIOUS)
    (shop.folder / "link").symlink_to(target)
    try:
        found = shop.json(*words, *([] if words[0] in WITHOUT_FORCE else ["--force"]), code=13)
        assert "symbolic link" in found["error"]["message"]
        assert (shop.folder / "link").is_symlink()
        assert (shop.folder / "precious").read_bytes() == PRECIOUS
        assert not (shop.folder / "nowhere").exists()
    finally:
        (shop.folder / "link").unlink()
    assert not [path.name for path in shop.folder.iterdir() if path.name.startswith(".")]


def test_a_reserve_goes_through_no_link_and_is_missed_by_nobody(shop: Program) -> None:
    reserve = shop.keystore / "keystore.reserve"
    reserve.unlink()
    reserve.symlink_to(shop.folder / "nowhere")
    try:
        shop.ok("audit", "verify")
        shop.generate("open", no_license=True)
        assert not (shop.folder / "nowhere").exists()
    finally:
        reserve.unlink()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may give a link away")
@pytest.mark.parametrize("option", ["--keystore", "--host-secret"])
def test_a_strangers_link_on_the_way_is_refused(shop: Program, option: str) -> None:
    link = shop.folder / "way"
    link.symlink_to(".")
    place = "keystore" if option == "--keystore" else "host/secret"
    try:
        shop.ok("list", option, f"way/{place}")  # our own
        os.chown(link, NOBODY, NOBODY, follow_symlinks=False)
        found = shop.json("list", option, f"way/{place}", code=13)
    finally:
        link.unlink()
    assert f"symbolic link of user {NOBODY}" in found["error"]["message"]


def test_a_restore_makes_its_copy_again(shop: Program, tmp_path: Path) -> None:
    other = Program(tmp_path)
    for name in ("keystore", "host"):
        shutil.copytree(shop.folder / name, tmp_path / name)
    (tmp_path / "precious").write_bytes(PRECIOUS)
    (other.keystore / ".keystore.db.restoring").symlink_to(tmp_path / "precious")
    other.ok("restore", str(shop.folder / "earlier.db"), "--yes")
    assert (tmp_path / "precious").read_bytes() == PRECIOUS
    assert not (other.keystore / ".keystore.db.restoring").is_symlink()
