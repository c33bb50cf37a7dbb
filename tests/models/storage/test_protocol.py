"""Holds of a place in any storage: files.py over a folder, objects.py over a storage that fsspec keeps in memory."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tests.models.containers import make_sample
from tiktrue_keys.core.containers.intents import ABSENT, FileIntent
from tiktrue_keys.core.outputs import KEYSTORES_ONLY, FileKind
from tiktrue_keys.errors import IntegrityError, NotFoundError, RefusedError
from tiktrue_keys.models.storage.location import Place, Url, parse_place
from tiktrue_keys.models.storage.object_requests import modified
from tiktrue_keys.models.storage.protocol import Output, Storage, storage_of
from tiktrue_keys.models.storage.readable import extent_of, pread_full, size_of, stamp_of

Put = Callable[[str, bytes], Storage]


@pytest.fixture(params=["file", "object"])
def root(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Place]:
    if request.param == "file":
        yield tmp_path
        return
    fsspec = pytest.importorskip("fsspec", reason="fsspec is installed by the extra `remote`")
    system = fsspec.filesystem("memory")
    yield Url("memory", "models")
    system.store.clear()
    system.pseudo_dirs[:] = [""]


@pytest.fixture
def put(root: Place) -> Put:
    def write(name: str, data: bytes) -> Storage:
        place = root / name
        if isinstance(place, Path):
            place.parent.mkdir(exist_ok=True)
            place.write_bytes(data)
        else:
            import fsspec

            fsspec.filesystem("memory").pipe_file(place.rest, data)
        return storage_of(place)

    return write


def test_a_source_has_a_size_and_a_stamp_and_is_read_anywhere(put: Put) -> None:
    with put("a", b"0123456789").opened("the file") as readable:
        assert (size_of(readable), extent_of(readable)) == (10, (0, 10))
        assert (pread_full(readable, 3, 4), pread_full(readable, 9, 8)) == (b"456", b"89")
        before = stamp_of(readable)
        assert stamp_of(readable) == before
        put("a", b"another length")
        assert stamp_of(readable) != before


def test_a_small_file_is_read_whole_up_to_its_limit(root: Place, put: Put) -> None:
    assert put("a", b"12345").read_capped(5, "the file") == b"12345"
    with pytest.raises(IntegrityError, match=r"the file.* is longer than 4 bytes"):
        storage_of(root / "a").read_capped(4, "the file")
    with pytest.raises(NotFoundError, match=r"the file .*none does not exist"):
        storage_of(root / "none").read_capped(4, "the file")


def test_what_is_there(root: Place, put: Put) -> None:
    storage = put("a", b"")
    assert (storage.exists(), storage.is_folder(), storage_of(root / "b").exists()) == (True, False, False)
    assert storage_of(root / "").is_folder()
    with pytest.raises(NotFoundError), storage_of(root / "b").real("the file").opened("the file"):
        pass


def test_what_lies_below_a_folder_is_listed_by_its_ending(root: Place, put: Put) -> None:
    for name in ("b.ttm", "a.ttm", "deep/a.ttm", "a.bin"):
        put(name, b"")
    found = sorted(str(place) for place in storage_of(root / "").below(".ttm"))
    assert found == [str(root / name) for name in ("a.ttm", "b.ttm", "deep/a.ttm")]
    with pytest.raises(NotFoundError):
        list(storage_of(root / "none").below(".ttm"))


def test_a_containers_header(root: Place, put: Put, tmp_path: Path) -> None:
    sample = make_sample(tmp_path, segment_size=1 << 20)
    storage = put("a.ttm", sample.bytes())
    assert storage.slots().current.header == sample.sealed.header
    assert storage.detached(sample.sealed.header.file_id) is None
    with pytest.raises(NotFoundError, match="the container"):
        storage_of(root / "none.ttm").slots()
    with pytest.raises(IntegrityError):
        put("text.ttm", b"text").slots()


def listed(root: Place) -> list[str]:
    return sorted(str(place).removeprefix(str(root / "")).strip("/") for place in storage_of(root / "").below(""))


def written(output: Output, data: bytes) -> None:
    with output.begun(len(data)) as out:
        if isinstance(out, int):
            os.write(out, data)
        else:
            out.preface(data)
        output.commit()


def test_an_output_is_there_whole_when_it_is_committed(root: Place, put: Put) -> None:
    put("beside", b"")
    with storage_of(root / "a").reserved(
        force=False, lock_timeout=0, gate=KEYSTORES_ONLY, kind=FileKind.CONTAINER
    ) as output:
        assert (output.place, output.before, output.replaced, output.may_exist) == (root / "a", ABSENT, None, False)
        assert listed(root) == ["beside"]
        written(output, b"data")
        assert output.may_exist
    assert listed(root) == ["a", "beside"]
    assert storage_of(root / "a").read_capped(9, "the file") == b"data"


def test_an_output_that_is_not_committed_leaves_nothing(root: Place, put: Put) -> None:
    put("beside", b"")
    with storage_of(root / "a").reserved(
        force=False, lock_timeout=0, gate=KEYSTORES_ONLY, kind=FileKind.CONTAINER
    ) as output:
        with pytest.raises(KeyboardInterrupt), output.begun(100):
            raise KeyboardInterrupt
        assert not output.may_exist
    assert listed(root) == ["beside"]


def test_the_temporary_name_is_beside_the_output_and_not_taken(root: Place) -> None:
    with storage_of(root / "a").reserved(
        force=False, lock_timeout=0, gate=KEYSTORES_ONLY, kind=FileKind.CONTAINER
    ) as output:
        temporary = output.temporary
        assert temporary is not None
        assert temporary.with_name("a") == output.place
        assert temporary.name.startswith(".a.")
        assert not storage_of(temporary).exists()


def test_a_container_is_replaced_only_by_a_container(root: Place, put: Put, tmp_path: Path) -> None:
    (tmp_path / "made").mkdir()
    storage = put("a.ttm", make_sample(tmp_path / "made", segment_size=1 << 20).bytes())

    for force in (False, True):
        with (
            pytest.raises(RefusedError, match=r"a\.ttm (is a model container|exists already)"),
            storage.reserved(force=force, lock_timeout=0, gate=KEYSTORES_ONLY, kind=FileKind.OTHER),
        ):
            pass


def test_what_is_there_is_replaced_only_by_force(root: Place, put: Put, tmp_path: Path) -> None:
    (tmp_path / "made").mkdir()
    sample = make_sample(tmp_path / "made", segment_size=1 << 20)
    storage = put("a.ttm", sample.bytes())
    with (
        pytest.raises(RefusedError, match="exists already"),
        storage.reserved(force=False, lock_timeout=0, gate=KEYSTORES_ONLY, kind=FileKind.CONTAINER),
    ):
        pass
    with storage.reserved(force=True, lock_timeout=0, gate=KEYSTORES_ONLY, kind=FileKind.CONTAINER) as output:
        assert (output.before, output.replaced) == (storage.identity(), sample.sealed.header)
        written(output, b"another one")
    assert storage.read_capped(20, "the file") == b"another one"
    with storage.reserved(force=True, lock_timeout=0, gate=KEYSTORES_ONLY, kind=FileKind.CONTAINER) as output:
        assert (output.before, output.replaced) == (storage.identity(), None)


def test_an_output_that_came_meanwhile_is_not_replaced(root: Place, put: Put) -> None:
    with storage_of(root / "a").reserved(
        force=False, lock_timeout=0, gate=KEYSTORES_ONLY, kind=FileKind.CONTAINER
    ) as output:
        put("a", b"theirs")
        with pytest.raises(RefusedError, match="exists already"):
            written(output, b"ours")
        assert not output.may_exist
    assert storage_of(root / "a").read_capped(20, "the file") == b"theirs"
    assert listed(root) == ["a"]


def test_a_model_is_told_from_its_output(root: Place, put: Put) -> None:
    storage, other = put("a", b"model"), put("b", b"model")
    with storage.source("the model") as readable:
        assert storage.is_open(readable)
        assert not other.is_open(readable)
        assert not storage_of(root / "none").is_open(readable)


def test_what_is_left_of_a_container(root: Place, put: Put, tmp_path: Path) -> None:
    (tmp_path / "made").mkdir()
    sample = make_sample(tmp_path / "made", segment_size=1 << 20)
    slots = put("a.ttm", sample.bytes()).left()
    assert slots is not None
    assert slots.current.header == sample.sealed.header
    assert (put("b.ttm", b"text").left(), storage_of(root / "none.ttm").left()) == (None, None)


def test_what_has_no_name_yet_is_removed(root: Place, put: Put) -> None:
    put("beside", b"")
    storage = put(".a.01234567.tmp", b"unfinished")
    assert storage.remove_unfinished()
    assert listed(root) == ["beside"]
    assert not storage.remove_unfinished()


def test_an_output_is_new_where_another_one_has_its_name(root: Place, put: Put) -> None:
    storage = put("a", b"data")
    intent = FileIntent("decrypt", bytes(16), "", frozenset(), frozenset(), before=storage.identity())
    assert not storage.is_new(intent)
    assert storage.is_new(replace(intent, before=ABSENT))
    assert not storage_of(root / "none").is_new(replace(intent, before=ABSENT))
    with storage.reserved(force=True, lock_timeout=0, gate=KEYSTORES_ONLY, kind=FileKind.CONTAINER) as output:
        written(output, b"another")
    assert storage.is_new(intent)


def test_an_intent_that_does_not_say_what_was_there_is_judged_by_its_second(root: Place, put: Put) -> None:
    storage = put("a", b"data")
    # The second of the file system, whose clock need not be that of this process.
    now = int((root / "a").stat().st_mtime if isinstance(root, Path) else time.time())
    later = FileIntent("decrypt", bytes(16), "", frozenset(), frozenset(), at=now + 3600)
    assert storage.is_new(later)
    assert not storage.is_new(replace(later, replaces=True))
    assert not storage_of(root / "none").is_new(later)
    if isinstance(root, Path):  # the storage in memory does not say when an object was changed
        assert storage.is_new(replace(later, replaces=True, at=now - 3600))


def test_an_object_was_changed_when_its_storage_says_so() -> None:
    assert modified({"LastModified": datetime(2026, 1, 1, tzinfo=UTC)}) == 1767225600
    assert modified({"mtime": 5}) == 5
    assert modified({"created": 5}) == 0


def test_places_go_out_of_reach_by_bucket_and_files_alone() -> None:
    assert storage_of(parse_place("s3://bucket/a")).group == storage_of(parse_place("s3://bucket/b/c")).group
    assert storage_of(parse_place("s3://bucket/a")).group != storage_of(parse_place("s3://other/a")).group
    assert storage_of(Path("/models/a")).group != storage_of(Path("/models/b")).group


def test_a_path_imports_nothing_of_a_storage_service() -> None:
    code = (
        "import sys; from pathlib import Path; from tiktrue_keys.models.storage.protocol import storage_of; "
        "storage_of(Path('a')).exists(); "
        "print([name for name in sys.modules if name.startswith('fsspec') or 'models.storage.object' in name])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
