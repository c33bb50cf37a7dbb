"""Several files of a folder at once: the same folder comes out, and nothing of it when one file fails."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tests.keystores import LICENSE
from tests.models.file.test_decrypt import edit
from tests.models.workshop import MODEL, Workshop, folder_request, pattern
from tests.waiting import PATIENCE, wait_until
from tiktrue_keys.errors import IntegrityError, RefusedError
from tiktrue_keys.models.container.data_key import asked_once
from tiktrue_keys.models.folder.decrypt import decrypt_folder
from tiktrue_keys.models.folder.encrypt import EncryptedFolder, encrypt_folder
from tiktrue_keys.models.folder.resume_state import DoneFile, ResumedFolder, ResumeState
from tiktrue_keys.models.folder.rewrap import rewrap_folder
from tiktrue_keys.models.folder.swap import make_parents
from tiktrue_keys.models.folder.verify import verify_folder
from tiktrue_keys.models.format.manifest import MANIFEST_NAME

FILES = {f"{name}{number}.bin": length for number in range(3) for name, length in (("a-", 0), ("b/c/", 2 << 20))}
"""Six files, every second one of more than one segment, in folders that several threads make at the same time."""


@pytest.fixture
def source(shop: Workshop) -> Path:
    folder = shop.folder / "llama"
    for number, (name, length) in enumerate(FILES.items()):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(pattern(length + number))
    (folder / "config.json").write_bytes(b"{}")
    return folder


def tree(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def hidden(shop: Workshop) -> list[str]:
    return [path.name for path in shop.folder.iterdir() if path.name.startswith(".")]


@pytest.mark.parametrize("jobs", [1, 3])
def test_how_many_at_once_shows_nowhere(shop: Workshop, source: Path, jobs: int) -> None:
    made = encrypt_folder(shop.manager, folder_request(source, plain=["*.json"], jobs=jobs))
    names = sorted(FILES)
    places = [made.destination / f"{name}.ttm" for name in names]
    assert [file.destination for file in made.files] == places
    assert [file.length for file in made.files] == [os.path.getsize(source / name) for name in names]
    assert sorted(row.path for row in shop.manager.containers()) == sorted(map(str, places))
    found = verify_folder(shop.manager, made.destination, license_key=LICENSE, jobs=jobs)
    assert [file.path for file in found.files] == places
    opened = decrypt_folder(shop.manager, made.destination, shop.folder / "out", license_key=LICENSE, jobs=jobs)
    assert [file.destination for file in opened.files] == [shop.folder / "out" / name for name in names]
    assert tree(shop.folder / "out") == tree(source)
    assert (hidden(shop), shop.manager.open_intents()) == ([], ())


def test_the_license_is_asked_for_once_and_by_the_thread_that_may_ask(shop: Workshop, source: Path) -> None:
    asked: list[threading.Thread] = []

    def ask() -> str:
        asked.append(threading.current_thread())
        time.sleep(0.1)
        return LICENSE

    made = encrypt_folder(shop.manager, folder_request(source, license_key=ask, jobs=4))
    verify_folder(shop.desk.manager(), made.destination, license_key=ask, jobs=4)
    decrypt_folder(shop.desk.manager(), made.destination, shop.folder / "out", license_key=ask, jobs=4)
    assert asked == [threading.current_thread()] * 3


def at_once(work: Callable[[int], object]) -> None:
    """Do `work` in eight threads that begin together; what one raises is raised here."""
    begin = threading.Barrier(8)

    def begun(number: int) -> None:
        begin.wait(PATIENCE)
        work(number)

    with ThreadPoolExecutor(8) as pool:
        for done in [pool.submit(begun, number) for number in range(8)]:
            done.result()


def test_the_license_is_asked_for_once_by_threads_that_begin_together() -> None:
    asked: list[int] = []

    def ask() -> str:
        time.sleep(0.05)
        asked.append(1)
        return LICENSE

    once = asked_once(ask)
    assert callable(once)
    at_once(lambda _: once())
    assert asked == [1]


def test_folders_that_two_files_need_at_the_same_time(tmp_path: Path) -> None:
    for round_ in range(20):
        at_once(lambda number, at=round_: make_parents(tmp_path, f"{at}/a/b/c/d/{number}"))  # type: ignore[misc]
        assert (tmp_path / f"{round_}/a/b/c/d").is_dir()


def test_lines_of_files_that_are_finished_at_the_same_time(tmp_path: Path) -> None:
    done = [DoneFile(f"file {number}", number, number, bytes(32), None, bytes(32)) for number in range(80)]
    with ResumeState.open(tmp_path / "state") as state:
        state.begin(ResumedFolder("/a", "/a.ttm", ".a.ttm.00000000.tmp", bytes(16), MODEL))

        def add(number: int) -> None:
            for each in done[number::8]:
                state.add([each])

        at_once(add)
    found = ResumeState.read(tmp_path / "state")
    assert found is not None
    assert found.done == {each.path: each for each in done}


def test_the_registry_is_told_of_the_whole_folder_in_one_transaction(shop: Workshop, source: Path) -> None:
    encrypt_folder(shop.manager, folder_request(source, operation_id="once", jobs=4))
    last = [record for record in shop.manager.audit_records() if record.operation_id == "once"]
    assert [record.event for record in last] == ["intent", *["encrypt"] * 7, "encrypt-folder"]


def test_of_two_bad_files_the_first_is_named_and_nothing_stays(shop: Workshop, source: Path) -> None:
    sealed = shop.sealed(10, "x")
    for name in ("b/c/1.bin", "b/c/2.bin"):
        shutil.copy(sealed, source / name)
    rows = shop.manager.containers()
    with pytest.raises(RefusedError, match=r"b/c/1\.bin is a model container already"):
        encrypt_folder(shop.manager, folder_request(source, jobs=4))
    assert not (shop.folder / "llama.ttm").exists()
    assert (hidden(shop), shop.manager.open_intents()) == ([], ())
    assert shop.manager.containers() == rows


def test_a_damaged_file_stops_a_decryption_and_no_plaintext_stays(shop: Workshop, source: Path) -> None:
    made = encrypt_folder(shop.manager, folder_request(source)).destination
    edit(made / "b/c/1.bin.ttm", 1 << 20, b"\0\0\0\0")
    with pytest.raises(IntegrityError, match="segment"):
        decrypt_folder(shop.manager, made, shop.folder / "out", license_key=LICENSE, jobs=4)
    assert not (shop.folder / "out").exists()
    assert (hidden(shop), shop.manager.open_intents()) == ([], ())
    with pytest.raises(IntegrityError, match="segment"):
        verify_folder(shop.manager, made, license_key=LICENSE, jobs=4)


def interrupt(done: int, _: int | None) -> None:
    if done > 2 << 20:
        raise KeyboardInterrupt


def test_an_interrupt_leaves_nothing_of_any_of_them(shop: Workshop, source: Path) -> None:
    made = encrypt_folder(shop.manager, folder_request(source))
    rows = shop.manager.containers()
    before = tree(made.destination)
    with pytest.raises(KeyboardInterrupt):
        encrypt_folder(shop.manager, folder_request(source, force=True, jobs=4, progress=interrupt))
    out = shop.folder / "out"
    with pytest.raises(KeyboardInterrupt):
        decrypt_folder(shop.manager, made.destination, out, license_key=LICENSE, jobs=4, progress=interrupt)
    assert tree(made.destination) == before
    assert (hidden(shop), shop.manager.open_intents(), shop.manager.containers()) == ([], (), rows)
    assert not out.exists()


def resumed(shop: Workshop, source: Path, **options: Any) -> EncryptedFolder[Path]:
    given: dict[str, Any] = {"resume": shop.folder / "state", "plain": ["*.json"], "jobs": 4}
    return encrypt_folder(shop.manager, folder_request(source, **(given | options)))


def test_a_run_that_was_interrupted_goes_on(shop: Workshop, source: Path) -> None:
    def late(done: int, _: int | None) -> None:
        if done > 4 << 20:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        resumed(shop, source, progress=late)
    lines = (shop.folder / "state").read_bytes().splitlines()
    kept = {path.name: path.read_bytes() for path in shop.folder.glob(".llama.ttm.*/b/c/*.ttm")}
    assert {Path(path).name for path in shop.paths()} >= kept.keys()  # their keys are needed until the next run
    made = resumed(shop, source)
    assert len(made.taken_over) == len(lines) - 1 > 1
    assert list(made.taken_over) == sorted(made.taken_over)
    for name in made.taken_over:
        if name.startswith("b/"):
            assert (made.destination / f"{name}.ttm").read_bytes() == kept[f"{Path(name).name}.ttm"]
    decrypt_folder(shop.manager, made.destination, shop.folder / "out", license_key=LICENSE)
    assert tree(shop.folder / "out") == tree(source)
    assert (hidden(shop), shop.manager.open_intents()) == ([], ())
    assert len(shop.manager.containers()) == 6


def test_a_rewrap_of_many_files(shop: Workshop, source: Path) -> None:
    folder = encrypt_folder(shop.manager, folder_request(source)).destination
    manifest = (folder / MANIFEST_NAME).read_bytes()
    shutil.copy(folder / "a-1.bin.ttm", folder / "a-0.bin.ttm")
    shop.manager.rotate([MODEL], license_key=LICENSE)
    batch = rewrap_folder(shop.manager, folder, license_key=LICENSE, jobs=4)
    places = [folder / f"{name}.ttm" for name in sorted(["config.json", *FILES])]
    assert [each.path for each in batch.done] == places[1:]
    assert {each.keys_after for each in batch.done} == {frozenset({shop.key.key_id})}
    assert [type(each.error) for each in batch.failed] == [IntegrityError]
    assert (folder / MANIFEST_NAME).read_bytes() == manifest


def test_control_c_in_the_middle_of_the_command(shop: Workshop, source: Path) -> None:
    for number in range(32):
        with (source / f"large{number}.bin").open("wb") as file:
            file.truncate(256 << 20)
    program = shop.program()
    command = program.argv("encrypt-model", str(source), "--key", MODEL, "--jobs", "4")
    command = ["nice", "-n", "19", *command]  # on a busy machine the signal must come before the end
    with subprocess.Popen(command, env=program.environment, stderr=subprocess.PIPE, text=True) as child:
        wait_until(lambda: list(shop.folder.glob(".llama.ttm.*/large*")))
        child.send_signal(signal.SIGINT)
        assert child.wait(PATIENCE) == 130, child.stderr.read() if child.stderr else ""
    assert (hidden(shop), (shop.folder / "llama.ttm").exists()) == ([], False)
    with shop.desk.manager() as manager:
        assert (manager.open_intents(), manager.containers()) == ((), ())
