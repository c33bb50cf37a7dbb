"""A folder's encryption goes on after a kill: what is done is taken over, what changed is made again."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.keystores import LICENSE, in_a_child
from tests.models.workshop import MODEL, Workshop, folder_request, pattern
from tests.waiting import wait_until
from tiktrue_keys.errors import RefusedError
from tiktrue_keys.models.folder import encrypt
from tiktrue_keys.models.folder.decrypt import decrypt_folder
from tiktrue_keys.models.folder.encrypt import EncryptedFolder, encrypt_folder
from tiktrue_keys.models.folder.resume_state import ResumeState
from tiktrue_keys.models.folder.verify import verify_folder
from tiktrue_keys.models.format.header_slots import HEADER_SIZE
from tiktrue_keys.models.settle.interrupted import settle_intents
from tiktrue_keys.models.storage import unsynced

FILES = {"a.safetensors": 2 << 20, "b/b.bin": 3000, "c.json": 50, "d.bin": 1 << 20, "e.bin": 10}
ALL = ("a.safetensors", "b/b.bin", "c.json", "d.bin", "e.bin")


def make_source(shop: Workshop) -> Path:
    """A model's folder."""
    folder = shop.folder / "llama"
    for name, length in FILES.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(pattern(length))
    return folder


@pytest.fixture
def source(shop: Workshop) -> Path:
    return make_source(shop)


def run(shop: Workshop, source: Path, **options: Any) -> EncryptedFolder[Path]:
    known: dict[str, Any] = {"resume": shop.folder / "state", "plain": ["*.json"]}
    known["jobs"] = 1  # so that it is certain what a kill leaves
    return encrypt_folder(shop.manager, folder_request(source, **(known | options)))


def killed_after(shop: Workshop, source: Path, count: int, *, batch: int = 1, **options: Any) -> None:
    """A run whose process dies, as by kill -9, when it has finished `count` files in batches, and made the next one."""
    add = ResumeState.add

    def work() -> bytes:
        finished = 0

        def counted(state: ResumeState, done: Any) -> None:
            nonlocal finished
            finished += len(done)
            if finished > count:
                os.kill(os.getpid(), 9)
            add(state, done)

        ResumeState.add = counted  # type: ignore[method-assign, assignment]
        unsynced.FILES_AT_ONCE = batch
        run(shop, source, **options)
        return b"not killed"

    shop.manager.close()
    assert in_a_child(work) == b""


def partial(shop: Workshop) -> Path:
    (found,) = [path for path in shop.folder.iterdir() if path.name.startswith(".llama.ttm.")]
    return found


def salts(folder: Path) -> dict[str, bytes]:
    """Tink's salt and nonce prefix of each container: with its data key, what no two bodies may share."""
    found = {}
    for path in folder.rglob("*.ttm"):
        with path.open("rb") as file:
            file.seek(HEADER_SIZE)
            found[path.relative_to(folder).as_posix()] = file.read(40)
    return found


def opens_as(shop: Workshop, made: Path, source: Path) -> None:
    out = shop.folder / "out"
    decrypt_folder(shop.manager, made, out, license_key=LICENSE)
    assert tree(out) == tree(source)
    verify_folder(shop.manager, made, license_key=LICENSE)
    shutil.rmtree(out)


def tree(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def hidden(shop: Workshop) -> list[str]:
    return [path.name for path in shop.folder.iterdir() if path.name.startswith(".")]


def test_without_a_kill_it_is_an_encrypted_folder(shop: Workshop, source: Path) -> None:
    made = run(shop, source)
    assert (made.changed, made.taken_over, made.plain) == (True, (), ("c.json",))
    assert [file.name for file in made.files] == ["a.safetensors", "b.bin", "d.bin", "e.bin"]
    assert (hidden(shop), (shop.folder / "state").exists()) == ([], False)
    opens_as(shop, made.destination, source)
    assert set(shop.paths()) == {f"llama.ttm/{name}.ttm" for name in ALL if name != "c.json"}


@pytest.mark.parametrize("count", [0, 1, 3, 4])
def test_after_a_kill_only_what_is_missing_is_done(shop: Workshop, source: Path, count: int) -> None:
    killed_after(shop, source, count)
    assert not (shop.folder / "llama.ttm").exists()
    before = salts(partial(shop))
    settle_intents(shop.manager)
    made = run(shop, source)
    assert made.taken_over == ALL[:count]
    after = salts(made.destination)
    for name in ALL[:count]:
        assert name == "c.json" or after[f"{name}.ttm"] == before[f"{name}.ttm"]
    opens_as(shop, made.destination, source)
    assert (hidden(shop), shop.manager.open_intents()) == ([], ())


def test_a_kill_with_several_files_under_way(shop: Workshop, source: Path) -> None:
    killed_after(shop, source, 2, jobs=4)
    before, keys = salts(partial(shop)), {path.name: shop.data_key(path) for path in partial(shop).rglob("*.ttm")}
    lines = (shop.folder / "state").read_bytes().splitlines()
    settle_intents(shop.manager)
    made = run(shop, source, jobs=4)
    assert len(made.taken_over) == len(lines) - 1
    after = salts(made.destination)
    for name in set(ALL) - {"c.json"}:
        taken = name in made.taken_over
        assert (after[f"{name}.ttm"] == before.get(f"{name}.ttm")) == taken
        assert (shop.data_key(made.destination / f"{name}.ttm") == keys.get(f"{Path(name).name}.ttm")) == taken
    opens_as(shop, made.destination, source)
    assert (hidden(shop), shop.manager.open_intents()) == ([], ())


def test_a_kill_costs_the_files_since_the_last_batch(shop: Workshop, source: Path) -> None:
    killed_after(shop, source, 3, batch=3)
    assert len(shop.paths()) == 4  # a container has its row before its line
    before, folder = salts(partial(shop)), partial(shop)
    settle_intents(shop.manager)
    made = run(shop, source)
    assert made.taken_over == ALL[:3]
    assert not {salts(made.destination)[f"{name}.ttm"] for name in ALL[3:]} & set(before.values())
    assert set(shop.paths()) == {f"llama.ttm/{name}.ttm" for name in ALL if name != "c.json"}
    forgotten = [record.detail["path"] for record in shop.manager.audit_records() if record.event == "forget"]
    assert forgotten == [str(folder / f"{name}.ttm") for name in ALL[3:]]
    opens_as(shop, made.destination, source)


def test_a_settled_kill_keeps_what_was_done(shop: Workshop, source: Path) -> None:
    killed_after(shop, source, 3)
    settled = settle_intents(shop.manager)
    assert {item.outcome for item in settled.operations} == {"failed"}
    assert shop.manager.open_intents() == ()
    assert len(shop.manager.containers()) >= 2  # their keys are needed
    made = run(shop, source)
    assert made.taken_over == ALL[:3]
    opens_as(shop, made.destination, source)


def change_bytes(source: Path) -> None:
    """Other bytes, with the size and the time that the file had."""
    path = source / "a.safetensors"
    found = path.stat()
    with path.open("r+b") as file:
        file.write(b"other bytes")
    os.utime(path, ns=(found.st_atime_ns, found.st_mtime_ns))


def touch(source: Path) -> None:
    found = (source / "a.safetensors").stat()
    os.utime(source / "a.safetensors", ns=(found.st_atime_ns, found.st_mtime_ns + 1))


def grow(source: Path) -> None:
    with (source / "a.safetensors").open("ab") as file:
        file.write(b"more")


@pytest.mark.parametrize("change", [change_bytes, touch, grow])
def test_a_source_that_changed_is_encrypted_again_under_another_key(
    shop: Workshop, source: Path, change: Callable[[Path], None]
) -> None:
    killed_after(shop, source, 3)
    before = salts(partial(shop))
    first = {path.name: shop.data_key(path) for path in partial(shop).glob("a*.ttm")}
    change(source)
    made = run(shop, source)
    assert made.taken_over == ("b/b.bin", "c.json")
    after = salts(made.destination)
    assert after["a.safetensors.ttm"] != before["a.safetensors.ttm"]
    assert shop.data_key(made.destination / "a.safetensors.ttm") != first["a.safetensors.ttm"]
    opens_as(shop, made.destination, source)


def test_the_file_that_was_under_way_is_begun_again_under_another_key(shop: Workshop, source: Path) -> None:
    killed_after(shop, source, 3)  # d.bin is there already, its line is not
    before = salts(partial(shop))
    assert "d.bin.ttm" in before
    made = run(shop, source)
    assert "d.bin" not in made.taken_over
    assert salts(made.destination)["d.bin.ttm"] != before["d.bin.ttm"]
    assert len(set(salts(made.destination).values())) == 4


def test_files_that_came_and_went_meanwhile(shop: Workshop, source: Path) -> None:
    killed_after(shop, source, 4)
    (source / "a.safetensors").unlink()
    (source / "b" / "b.bin").rename(source / "new.bin")
    (source / "b").rmdir()
    made = run(shop, source)
    assert made.taken_over == ("c.json", "d.bin")
    opens_as(shop, made.destination, source)
    assert set(shop.paths()) == {f"llama.ttm/{name}.ttm" for name in ("d.bin", "e.bin", "new.bin")}


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[-300] ^= 1
    path.write_bytes(data)


@pytest.mark.parametrize("damage", [flip, Path.unlink, lambda path: path.write_bytes(path.read_bytes()[:-1])])
def test_an_output_that_is_not_what_was_written_is_made_again(
    shop: Workshop, source: Path, damage: Callable[[Path], None]
) -> None:
    killed_after(shop, source, 3)
    damage(partial(shop) / "a.safetensors.ttm")
    made = run(shop, source)
    assert made.taken_over == ("b/b.bin", "c.json")
    opens_as(shop, made.destination, source)


def test_another_choice_of_what_stays_in_clear(shop: Workshop, source: Path) -> None:
    killed_after(shop, source, 3)
    made = run(shop, source, plain=["b/*"])
    assert (made.taken_over, made.plain) == (("a.safetensors",), ("b/b.bin",))
    opens_as(shop, made.destination, source)


def test_a_key_that_was_rotated_meanwhile(shop: Workshop, source: Path) -> None:
    killed_after(shop, source, 2)
    shop.manager.rotate([MODEL], license_key=LICENSE)
    made = run(shop, source)
    assert made.taken_over == ALL[:2]
    opens_as(shop, made.destination, source)


def test_a_key_that_was_revoked_meanwhile(shop: Workshop, source: Path) -> None:
    killed_after(shop, source, 2)
    shop.manager.revoke([shop.key.key_id], reason="lost", rotate=True, license_key=LICENSE)
    made = run(shop, source)
    assert made.taken_over == ()
    opens_as(shop, made.destination, source)


def test_a_run_that_had_only_its_state_file_left_to_remove(shop: Workshop, source: Path) -> None:
    def work() -> bytes:
        ResumeState.remove = lambda _: os.kill(os.getpid(), 9)  # type: ignore[method-assign, assignment]
        run(shop, source)
        return b"not killed"

    shop.manager.close()
    assert in_a_child(work) == b""
    before = salts(shop.folder / "llama.ttm")
    again = run(shop, source)
    assert (again.changed, again.taken_over, salts(again.destination)) == (False, ALL, before)
    assert not (shop.folder / "state").exists()
    with pytest.raises(RefusedError, match="exists already"):
        run(shop, source)


def test_a_repeated_operation_id_gives_the_first_result(shop: Workshop, source: Path) -> None:
    first = run(shop, source, operation_id="nightly")
    again = run(shop, source, operation_id="nightly")
    assert (first.changed, again.changed, again.taken_over) == (True, False, ())
    assert (again.folder_id, again.destination) == (first.folder_id, first.destination)
    assert not (shop.folder / "state").exists()


def test_a_failure_can_be_gone_on_from_as_well(shop: Workshop, source: Path) -> None:
    (source / "d.bin").chmod(0)
    os.rename(source / "d.bin", source / "d.away")
    os.mkfifo(source / "d.bin")
    with pytest.raises(RefusedError):
        run(shop, source)
    os.unlink(source / "d.bin")
    os.rename(source / "d.away", source / "d.bin")
    opens_as(shop, run(shop, source).destination, source)


def test_in_place_of_an_older_encrypted_folder(shop: Workshop, source: Path) -> None:
    first = run(shop, source)
    old = {file.file_id for file in first.files}
    killed_after(shop, source, 2, force=True)
    assert salts(first.destination)
    made = run(shop, source, force=True)
    assert made.taken_over == ALL[:2]
    opens_as(shop, made.destination, source)
    assert not old & {record.file_id for record in shop.manager.containers()}


def test_progress_counts_what_was_taken_over(shop: Workshop, source: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    killed_after(shop, source, 3)
    seen: list[tuple[int, int | None]] = []
    taken, whole = sum(FILES[name] for name in ALL[:3]), sum(FILES.values())
    make = encrypt._make

    def make_later(*given: Any) -> Any:
        """Not before the caller's thread has told what is done already."""
        wait_until(lambda: (taken, whole) in seen)
        return make(*given)

    monkeypatch.setattr(encrypt, "_make", make_later)
    run(shop, source, progress=lambda done, total: seen.append((done, total)))
    assert (taken, whole) in seen
    assert seen == sorted(seen)
    assert {total for _, total in seen} == {whole}
    assert seen[-1] == (whole, whole)
