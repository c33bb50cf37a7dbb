"""A process is killed before each change that it makes to the models' folder; the next command settles what it left."""

from __future__ import annotations

import os
import shutil
import signal
import warnings
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NoReturn

import pytest

from tests.keystores import FULL_RUN, LICENSE
from tests.models.file.test_rewrap import slots
from tests.models.workshop import MODEL, Workshop, drained, folder_request, pattern
from tests.untraced import leave_measurement
from tiktrue_keys.core.containers.intents import FileIntent
from tiktrue_keys.core.containers.settlement import Ending
from tiktrue_keys.core.durable import NewFile
from tiktrue_keys.core.manager import KeyManager
from tiktrue_keys.errors import RefusedError
from tiktrue_keys.models.file.decrypt import decrypt_model
from tiktrue_keys.models.file.encrypt import encrypt_model
from tiktrue_keys.models.file.reencrypt import reencrypt_model
from tiktrue_keys.models.file.rewrap import rewrap_model
from tiktrue_keys.models.file.verify import verify_model
from tiktrue_keys.models.folder.decrypt import decrypt_folder
from tiktrue_keys.models.folder.encrypt import encrypt_folder
from tiktrue_keys.models.folder.verify import verify_folder
from tiktrue_keys.models.model_release import release_models
from tiktrue_keys.models.settle import interrupted
from tiktrue_keys.models.settle.interrupted import settle_intents
from tiktrue_keys.models.storage.container_lock import locked_container

CALLS = (
    "open",
    "mkdir",
    "posix_fallocate",
    "fchmod",
    "write",
    "pwrite",
    "pwritev",
    "fsync",
    "fdatasync",
    "link",
    "rename",
    "unlink",
    "rmdir",
)
LENGTH = (1 << 20) + 5000
Work = Callable[[KeyManager], object]


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Workshop]:
    made = Workshop(tmp_path)
    with made.desk:
        yield made


class Killer:
    """Kills its own process before the call number `at` of CALLS that concerns the folder."""

    def __init__(self, folder: Path, at: int) -> None:
        self.folder = str(folder)
        self.at = at
        self.count = 0

    def install(self) -> None:
        for name in CALLS:
            setattr(os, name, self._wrapped(getattr(os, name)))

    def _wrapped(self, call: Callable[..., Any]) -> Callable[..., Any]:
        def wrapped(first: Any, *rest: Any, **named: Any) -> Any:
            if self._concerns(first, named):
                self.count += 1
                if self.count == self.at:
                    kill_me()
            return call(first, *rest, **named)

        return wrapped

    def _concerns(self, first: Any, named: dict[str, Any]) -> bool:
        given = named.get("dir_fd", named.get("src_dir_fd", first))
        if isinstance(given, int):
            given = os.readlink(f"/proc/self/fd/{given}")
        return os.fsdecode(given).startswith(self.folder)


def kill_me() -> NoReturn:
    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError


def died(work: Callable[[], object]) -> bool:
    """Whether a forked child was killed while it did `work`; an exception of it goes no further than the child."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # Python 3.12 warns of forks beside threads
        child = os.fork()
    if child == 0:
        try:
            leave_measurement()
            work()
        finally:
            os._exit(0)
    return os.WIFSIGNALED(os.waitpid(child, 0)[1])


def killed(shop: Workshop, work: Work, at: int) -> bool:
    """Whether `work` was killed before its call number `at`; False when it has fewer."""

    def count_and_work() -> None:
        Killer(shop.folder, at).install()
        work(shop.desk.manager())

    return died(count_and_work)


def nothing() -> None:
    pass


def each_kill(
    shop: Workshop, work: Work, look: Callable[[], None], *, before: Callable[[], None] = nothing, sample: int = 1
) -> int:
    """Kill `work` at every call (or every `sample`th), settle, look, and start again from the same state.

    `before` looks at what the kill left, before anything is settled.
    """
    saved = shop.folder.with_name("saved")
    shutil.copytree(shop.desk.folder.parent, saved, symlinks=True, ignore=lambda at, names: ["saved"])
    step = 1 if FULL_RUN else sample
    at = 1
    while True:
        shop.desk.close()
        for name in ("keys", "host", "models"):
            shutil.rmtree(shop.folder.with_name(name))
            shutil.copytree(saved / name, shop.folder.with_name(name), symlinks=True)
        shop.manager = shop.desk.manager()
        if not killed(shop, work, at):
            return at
        before()
        settled = settle_intents(shop.manager)
        assert all(item.outcome != "open" for item in settled.operations)
        assert shop.manager.open_intents() == ()
        assert not [path for path in shop.folder.rglob("*") if path.name.endswith((".tmp", ".old"))]
        assert shop.manager.audit_verify() == shop.manager.audit_size()
        look()
        at += step


def last_outcome(shop: Workshop, operation: str) -> str:
    return [record.outcome for record in shop.manager.audit_records() if record.event == operation][-1]


def was_begun(shop: Workshop) -> bool:
    return any(record.event == "intent" for record in shop.manager.audit_records())


def test_encrypt(shop: Workshop) -> None:
    source, target = shop.plain(LENGTH), shop.folder / "weights.bin.ttm"
    seen: set[bool] = set()

    def look() -> None:
        there = target.exists()
        seen.add(there)
        assert shop.paths() == (["weights.bin.ttm"] if there else [])
        if there:
            assert verify_model(shop.manager, target, license_key=LICENSE).length == LENGTH
        if was_begun(shop):
            assert last_outcome(shop, "encrypt") == ("ok" if there else "failed")
        encrypt_model(shop.manager, source, key=MODEL, license_key=LICENSE, force=True)

    calls = each_kill(
        shop, lambda manager: encrypt_model(manager, source, key=MODEL, license_key=LICENSE), look, sample=2
    )
    assert calls > 8
    assert seen == {True, False}


def test_encrypt_over_another_container(shop: Workshop) -> None:
    target = shop.sealed(100)
    source = shop.plain(LENGTH)
    old = shop.manager.containers()[0].file_id

    def look() -> None:
        found = slots(target).current.header.file_id
        assert [row.file_id for row in shop.manager.containers()] == [found]
        assert verify_model(shop.manager, target, license_key=LICENSE).length == (100 if found == old else LENGTH)

    def work(manager: KeyManager) -> None:
        encrypt_model(manager, source, key=MODEL, license_key=LICENSE, force=True)

    assert each_kill(shop, work, look, sample=3) > 8


def test_decrypt(shop: Workshop) -> None:
    sealed, target = shop.sealed(LENGTH), shop.folder / "weights.bin"
    seen: set[bool] = set()

    def look() -> None:
        there = target.exists()
        seen.add(there)
        assert not there or target.read_bytes() == pattern(LENGTH)
        assert shop.paths() == ["weights.bin.ttm"]
        if len([record for record in shop.manager.audit_records() if record.event == "intent"]) == 2:
            assert last_outcome(shop, "decrypt") == ("ok" if there else "failed")

    calls = each_kill(shop, lambda manager: decrypt_model(manager, sealed, license_key=LICENSE), look)
    assert calls > 6
    assert seen == {True, False}


def test_rewrap(shop: Workshop) -> None:
    sealed, old = shop.sealed(100), shop.key.key_id
    shop.manager.rotate([MODEL], license_key=LICENSE)
    new = shop.key.key_id
    seen = set()

    def look() -> None:
        found = slots(sealed)
        (row,) = shop.manager.containers()
        assert found.current.header.key_ids <= row.keys
        assert found.equal or row.keys == {old, new}
        seen.add((found.equal, *sorted(found.current.header.key_ids)))
        assert verify_model(shop.manager, sealed, license_key=LICENSE).length == 100
        rewrap_model(shop.manager, sealed, license_key=LICENSE)
        assert slots(sealed).equal
        assert slots(sealed).current.header.key_ids == shop.manager.containers()[0].keys == {new}

    assert each_kill(shop, lambda manager: rewrap_model(manager, sealed, license_key=LICENSE), look) > 2
    assert {(True, old), (False, new)} <= seen


def test_reencrypt(shop: Workshop) -> None:
    sealed = shop.sealed(LENGTH)
    old = shop.manager.containers()[0].file_id
    seen = set()

    def look() -> None:
        found = slots(sealed).current.header.file_id
        seen.add(found == old)
        assert [row.file_id for row in shop.manager.containers()] == [found]
        assert verify_model(shop.manager, sealed, license_key=LICENSE).length == LENGTH

    assert each_kill(shop, lambda manager: reencrypt_model(manager, sealed, license_key=LICENSE), look, sample=2) > 8
    assert seen == {True, False}


@pytest.mark.parametrize(("recover", "left"), [(False, 2), (True, 1)])
def test_a_release_follows_a_reencryption_through_every_kill(shop: Workshop, recover: bool, left: int) -> None:
    """Old alone or old and new are named: never the new one alone while the old file lies there, and never neither."""
    sealed = shop.sealed(LENGTH)
    old = shop.manager.containers()[0].file_id
    release_models(shop.manager, [sealed])
    seen: set[tuple[str, bool]] = set()

    def named() -> dict[bytes, int]:
        return {each.file_id: each.until for each in shop.manager.releases()[0].entries}

    def before() -> None:
        assert old in named()
        assert len(named()) <= 2
        there = slots(sealed).current.header.file_id
        assert there in named(), "readers are locked out of what lies there"
        seen.add(("both" if len(named()) == 2 else "old", there == old))
        verify_model(shop.manager, sealed, license_key=LICENSE)

    def look() -> None:
        there = slots(sealed).current.header.file_id
        verify_model(shop.manager, sealed, license_key=LICENSE)
        if there == old:
            assert named() == {old: 0}
        else:
            assert len(named()) == left
            assert named()[there] == 0
            assert (old in named()) is not recover
            assert named().get(old, 1) > 0

    def work(manager: KeyManager) -> None:
        reencrypt_model(manager, sealed, license_key=LICENSE, recover_revoked=recover)

    each_kill(shop, work, look, before=before, sample=2)
    assert seen == {("old", True), ("both", True), ("both", False)}


def folder_of(shop: Workshop) -> Path:
    folder = shop.folder / "llama"
    (folder / "sub").mkdir(parents=True)
    shop.plain(3000, "llama/a.bin")
    shop.plain(0, "llama/sub/b.bin")
    shop.plain(10, "llama/config.json")
    return folder


@pytest.mark.parametrize("force", [False, True])
def test_encrypt_folder(shop: Workshop, force: bool) -> None:
    source, target = folder_of(shop), shop.folder / "llama.ttm"
    if force:
        encrypt_folder(shop.manager, folder_request(source, plain=["*.json"]))

    def look() -> None:
        assert target.exists() or not force
        rows = {row.path for row in shop.manager.containers()}
        if target.exists():
            assert verify_folder(shop.manager, target, license_key=LICENSE).length == 3010
            assert rows == {str(target / "a.bin.ttm"), str(target / "sub/b.bin.ttm")}
        else:
            assert rows == set()

    def work(manager: KeyManager) -> None:
        encrypt_folder(manager, folder_request(source, plain=["*.json"], force=force))

    assert each_kill(shop, work, look, sample=7) > 30


def test_between_the_two_renames_of_a_replaced_folder(shop: Workshop) -> None:
    source, target = folder_of(shop), shop.folder / "llama.ttm"
    encrypt_folder(shop.manager, folder_request(source))
    shop.plain(77, "llama/a.bin")
    rename = os.rename

    def kill_before_the_second(old: Any, new: Any, **named: Any) -> None:
        if Path(os.fsdecode(new)) == target:
            kill_me()
        rename(old, new, **named)

    def work() -> None:
        os.rename = kill_before_the_second  # type: ignore[assignment]
        encrypt_folder(shop.desk.manager(), folder_request(source, force=True))

    assert died(work)
    assert not target.exists()
    settle_intents(shop.manager)
    assert verify_folder(shop.manager, target, license_key=LICENSE).length == 87
    assert len(shop.manager.containers()) == 3
    assert last_outcome(shop, "encrypt-folder") == "ok"


def test_decrypt_folder(shop: Workshop) -> None:
    source, target = folder_of(shop), shop.folder / "out"
    sealed = encrypt_folder(shop.manager, folder_request(source)).destination
    shutil.rmtree(source)

    def look() -> None:
        if target.exists():
            assert (target / "a.bin").read_bytes() == pattern(3000)
            assert (target / "config.json").read_bytes() == pattern(10)

    def work(manager: KeyManager) -> None:
        decrypt_folder(manager, sealed, target, license_key=LICENSE)

    assert each_kill(shop, work, look, sample=7) > 20


def killed_before_outcome(shop: Workshop, work: Work, operation: str) -> None:
    """Kill `work` when it is about to record the outcome of an operation."""

    def until_then() -> None:
        manager = shop.desk.manager()
        finish = manager.finish_file_operations

        def kill_or_finish(endings: Mapping[str, Ending]) -> None:
            if operation in endings:
                kill_me()
            finish(endings)

        manager.finish_file_operations = kill_or_finish  # type: ignore[method-assign]
        work(manager)

    assert died(until_then)


def killed_in(shop: Workshop, work: Work, method: str) -> None:
    """Kill `work` when it calls a method of its manager."""

    def until_then() -> None:
        manager = shop.desk.manager()
        setattr(manager, method, lambda *_, **__: kill_me())
        work(manager)

    assert died(until_then)


def test_a_kill_before_the_outcome(shop: Workshop) -> None:
    source = shop.plain(100)
    killed_in(shop, lambda m: encrypt_model(m, source, key=MODEL, license_key=LICENSE), "finish_file_operations")
    (intent,) = shop.manager.open_intents()
    settled = settle_intents(shop.manager)
    assert [(item.intent.operation_id, item.outcome) for item in settled.operations] == [(intent.operation_id, "ok")]
    assert (settled.changed, settled.warnings) == (True, ())
    assert last_outcome(shop, "encrypt") == "ok"
    assert settle_intents(shop.manager).changed is False


def test_a_pipe_that_nobody_can_look_into_keeps_its_key(shop: Workshop) -> None:
    source = shop.plain(100)

    def work(manager: KeyManager) -> None:
        drained(lambda sink: encrypt_model(manager, source, sink, key=MODEL, license_key=LICENSE))

    killed_in(shop, work, "finish_file_operations")
    settled = settle_intents(shop.manager)
    assert [item.outcome for item in settled.operations] == ["failed"]
    assert [notice.code for notice in settled.warnings] == ["interrupted"]
    (row,) = shop.manager.containers()
    assert (row.piped, row.keys) == (True, frozenset({shop.key.key_id}))


def test_what_cannot_be_looked_at_stays_open(shop: Workshop) -> None:
    source = shop.plain(100)
    killed_in(shop, lambda m: encrypt_model(m, source, key=MODEL, license_key=LICENSE), "finish_file_operations")
    away = shop.folder.rename(shop.folder.with_name("unmounted"))
    settled = settle_intents(shop.manager)
    assert ([item.outcome for item in settled.operations], settled.changed) == (["open"], False)
    assert "cannot be settled" in settled.warnings[0].message
    assert len(shop.manager.open_intents()) == 1
    away.rename(shop.folder)
    assert [item.outcome for item in settle_intents(shop.manager).operations] == ["ok"]


def test_a_running_operation_is_left_alone(shop: Workshop) -> None:
    source = shop.plain(40 << 20)
    outcomes: list[Any] = []

    def progress(_: int, __: int | None) -> None:
        outcomes.append(settle_intents(shop.desk.manager()).operations)

    encrypt_model(shop.manager, source, key=MODEL, license_key=LICENSE, progress=progress)
    assert set(outcomes) == {()}


def test_an_operation_whose_process_cannot_be_seen_is_left_alone(
    shop: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another container of this host: its pid means nothing here, its lock on what it makes does."""
    monkeypatch.setattr("tiktrue_keys.models.settle.interrupted.is_running", lambda process: False)
    outcomes: list[tuple[str, str]] = []

    def progress(_: int, __: int | None) -> None:
        outcomes.extend(
            (item.intent.operation, item.outcome) for item in settle_intents(shop.desk.manager()).operations
        )

    source, folder = shop.plain(40 << 20), folder_of(shop)
    sealed = encrypt_model(shop.manager, source, key=MODEL, license_key=LICENSE, progress=progress).destination
    assert isinstance(sealed, Path)
    decrypt_model(shop.manager, sealed, shop.folder / "out", license_key=LICENSE, progress=progress)
    reencrypt_model(shop.manager, sealed, license_key=LICENSE, progress=progress)
    assert {operation for operation, _ in outcomes} == {"encrypt", "decrypt", "reencrypt"}
    assert {outcome for _, outcome in outcomes} == {"open"}
    # A folder's files are encrypted in other threads than this one, which may see one between its intent and its lock.
    whole: list[str] = []

    def folder_progress(_: int, __: int | None) -> None:
        manager = shop.desk.manager()
        folders = [intent for intent in manager.open_intents() if intent.operation == "encrypt-folder"]
        whole.extend(item.outcome for item in interrupted._settle(manager, folders))

    encrypt_folder(shop.manager, folder_request(folder, progress=folder_progress))
    assert set(whole) == {"open"}
    shop.manager.rotate([MODEL], license_key=LICENSE)
    killed_in(shop, lambda m: rewrap_model(m, sealed, license_key=LICENSE), "finish_file_operations")
    with locked_container(sealed, 1.0):
        assert [item.outcome for item in settle_intents(shop.manager).operations] == ["open"]
    assert [item.outcome for item in settle_intents(shop.manager).operations] == ["ok"]


def test_an_operation_of_a_later_version_stays_open(shop: Workshop) -> None:
    intent = FileIntent("sign-in-the-future", bytes(16), str(shop.folder / "x"), frozenset(), frozenset())
    assert not died(lambda: shop.desk.manager().begin_file_operation(intent))
    assert [item.outcome for item in settle_intents(shop.manager).operations] == ["open"]


def test_an_older_output_is_not_taken_for_the_new_one(shop: Workshop) -> None:
    """A kill between the intent and the temporary file. By the clock of this keystore the older output is newer."""
    sealed, target = shop.sealed(100), shop.folder / "weights.bin"
    target.write_bytes(pattern(101)[1:])
    enter = NewFile.__enter__

    def work() -> None:
        NewFile.__enter__ = lambda new: kill_me() if new.path == target else enter(new)  # type: ignore[method-assign]
        manager = shop.desk.manager()
        decrypt_model(manager, sealed, license_key=LICENSE, force=True, operation_id="nightly")

    assert died(work)
    assert [item.outcome for item in settle_intents(shop.manager).operations] == ["failed"]
    target.chmod(0o644)  # changes its time of change, and it is still the older one
    assert died(work)
    assert [item.outcome for item in settle_intents(shop.manager).operations] == ["failed"]
    assert target.read_bytes() == pattern(101)[1:]
    again = decrypt_model(shop.manager, sealed, license_key=LICENSE, force=True, operation_id="nightly")
    assert again.changed
    assert target.read_bytes() == pattern(100)
    killed_in(shop, lambda m: decrypt_model(m, sealed, license_key=LICENSE, force=True), "finish_file_operations")
    assert [item.outcome for item in settle_intents(shop.manager).operations] == ["ok"]


def test_an_older_folder_is_not_taken_for_the_new_one(shop: Workshop) -> None:
    sealed = encrypt_folder(shop.manager, folder_request(folder_of(shop))).destination
    older = (shop.folder / "llama" / "a.bin").stat()

    def decrypt(manager: KeyManager) -> None:
        decrypt_folder(manager, sealed, license_key=LICENSE, force=True, operation_id="nightly")

    def work() -> None:
        os.mkdir = lambda *_: kill_me()
        decrypt(shop.desk.manager())

    assert died(work)
    assert [item.outcome for item in settle_intents(shop.manager).operations] == ["failed"]
    assert os.path.samestat((shop.folder / "llama" / "a.bin").stat(), older)
    killed_before_outcome(shop, decrypt, "nightly")
    assert [item.outcome for item in settle_intents(shop.manager).operations] == ["ok"]
    assert not os.path.samestat((shop.folder / "llama" / "a.bin").stat(), older)


@pytest.mark.parametrize(("later", "outcome"), [(-1, "ok"), (0, "failed"), (1, "failed")])
def test_an_intent_of_an_earlier_version_is_judged_by_whole_seconds(shop: Workshop, later: int, outcome: str) -> None:
    shop.sealed(100)
    (record,) = shop.manager.containers()
    target = shop.plain(100)
    shop.desk.clock.now = target.stat().st_ctime_ns // 10**9 + later
    temporary = str(target.with_name(".weights.bin.01234567.tmp"))
    intent = FileIntent(
        "decrypt", record.file_id, record.path, record.keys, record.keys, temporary=temporary, replaces=True
    )
    assert not died(lambda: shop.desk.manager().begin_file_operation(intent))
    assert [item.outcome for item in settle_intents(shop.manager).operations] == [outcome]


def test_a_settled_operation_is_not_done_again_under_its_operation_id(shop: Workshop) -> None:
    sealed, folder = shop.sealed(100), folder_of(shop)

    def done_twice(operation: str, work: Callable[[KeyManager], Any]) -> None:
        killed_before_outcome(shop, work, operation)
        assert [item.outcome for item in settle_intents(shop.manager).operations] == ["ok"]
        assert work(shop.manager).changed is False

    plain, made = shop.folder / "plain.bin", shop.folder / "llama.ttm"
    shop.plain(200, "plain.bin")
    done_twice("1", lambda m: encrypt_model(m, plain, key=MODEL, license_key=LICENSE, operation_id="1"))
    with pytest.raises(RefusedError, match="other arguments"):  # the settled intent holds the request
        encrypt_model(shop.manager, sealed, key=MODEL, license_key=LICENSE, operation_id="1")
    done_twice("2", lambda m: decrypt_model(m, sealed, license_key=LICENSE, operation_id="2"))
    done_twice("3", lambda m: reencrypt_model(m, sealed, license_key=LICENSE, operation_id="3"))
    done_twice("4", lambda m: encrypt_folder(m, folder_request(folder, operation_id="4")))
    done_twice("5", lambda m: decrypt_folder(m, made, shop.folder / "out", license_key=LICENSE, operation_id="5"))
    shop.manager.rotate([MODEL], license_key=LICENSE)
    done_twice("6", lambda m: rewrap_model(m, sealed, license_key=LICENSE, operation_id="6"))
