"""What holds of a place whatever its storage is: a folder of this machine, and one in a storage that fsspec keeps."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.models.containers import make_sample
from tiktrue_keys.errors import IntegrityError, NotFoundError
from tiktrue_keys.models.storage.location import Place, Url, parse_place
from tiktrue_keys.models.storage.protocol import Storage, storage_of
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
