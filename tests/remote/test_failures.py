"""What goes wrong between here and the storage: nothing half made is to be seen, and no wrong byte is released."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.keystores import LICENSE
from tests.models.workshop import MODEL, Workshop, fed_pipe, pattern
from tests.remote.conftest import Bucket
from tests.remote.test_objects import LENGTH, sealed
from tiktrue_keys.errors import (
    IntegrityError,
    NotFoundError,
    RefusedError,
    TikTrueKeysError,
    UnavailableError,
    UsageError,
)
from tiktrue_keys.models.file.decrypt import decrypt_model
from tiktrue_keys.models.file.encrypt import encrypt_model
from tiktrue_keys.models.file.inspect import inspect_model
from tiktrue_keys.models.file.open import open_model
from tiktrue_keys.models.storage.location import Url, parse_place
from tiktrue_keys.models.storage.object_requests import storage_errors
from tiktrue_keys.models.storage.upload import Upload

BIG = 17 << 20
"""Three parts of an upload."""


def encrypt(shop: Workshop, source: Any, url: str, **options: Any) -> object:
    return encrypt_model(shop.manager, source, url, key=MODEL, license_key=LICENSE, **options)


def at(fraction: float, operation: Callable[[], object]) -> Callable[[int, int | None], None]:
    """A progress report that does something once, when that part of a BIG model is done."""
    done = False

    def report(count: int, _: int | None) -> None:
        nonlocal done
        if not done and count > BIG * fraction:
            done = True
            operation()

    return report


def stop() -> None:
    raise KeyboardInterrupt


def test_an_upload_that_is_stopped_leaves_nothing(shop: Workshop, bucket: Bucket) -> None:
    with pytest.raises(KeyboardInterrupt):
        encrypt(shop, shop.plain(BIG), bucket.url("a.ttm"), progress=at(0.6, stop))
    assert (bucket.names(), bucket.uploads(), shop.manager.containers()) == ([], [], ())
    assert shop.last_events(2) == [("intent", "ok"), ("encrypt", "failed")]


def test_an_upload_to_a_server_that_goes_away(shop: Workshop, bucket: Bucket) -> None:
    old = bucket.put("a.ttm", b"what was there before")
    bucket.relay.cut_up_after = bucket.relay.up + BIG // 2
    with pytest.raises(UnavailableError, match="cannot be reached") as caught:
        encrypt(shop, shop.plain(BIG), old, force=True)
    assert caught.value.exit_code == 12
    bucket.relay.cut_up_after = None
    assert bucket.get("a.ttm") == b"what was there before"
    assert bucket.names() == ["a.ttm"]
    assert shop.manager.containers() == ()


def test_a_model_that_changes_while_it_is_read(shop: Workshop, bucket: Bucket) -> None:
    source = bucket.put("model", pattern(LENGTH))
    with pytest.raises(UnavailableError, match="changed while it was read"):
        encrypt(shop, source, bucket.url("a.ttm"), progress=at(0.01, lambda: bucket.put("model", bytes(LENGTH))))
    assert (bucket.names(), bucket.uploads()) == (["model"], [])


def test_somebody_else_is_first(shop: Workshop, bucket: Bucket) -> None:
    url, report = bucket.url("a.ttm"), at(0.9, lambda: bucket.put("a.ttm", b"theirs"))
    with pytest.raises(RefusedError, match="exists already"):
        encrypt(shop, shop.plain(BIG), url, progress=report)
    assert (bucket.get("a.ttm"), bucket.uploads(), shop.manager.containers()) == (b"theirs", [], ())


def test_the_server_too_refuses_to_replace_what_came_first(bucket: Bucket) -> None:
    url = Url("s3", f"{bucket.name}/a.ttm")
    with Upload(url, replace=False) as late:
        late.preface(b"ours")
        bucket.put("a.ttm", b"theirs")
        with pytest.raises(RefusedError, match="exists already"), storage_errors("the output", url):
            late._complete()  # what commit does once it has looked: theirs may arrive in between
    assert (bucket.get("a.ttm"), bucket.uploads()) == (b"theirs", [])


@pytest.mark.parametrize("destination", ["a file", "an object"])
def test_a_download_that_breaks_is_no_shorter_model(shop: Workshop, bucket: Bucket, destination: str) -> None:
    url = sealed(shop, bucket)
    bucket.relay.drop()
    bucket.relay.cut_down_after = 700_000
    target: Any = shop.folder / "out" if destination == "a file" else bucket.url("out")
    with pytest.raises(UnavailableError):
        decrypt_model(shop.manager, url, target, license_key=LICENSE)
    bucket.relay.cut_down_after = None
    assert shop.names() == {"weights.bin"}
    assert (bucket.names(), bucket.uploads()) == (["weights.bin.ttm"], [])


def test_an_object_that_is_exchanged_between_two_reads(shop: Workshop, bucket: Bucket) -> None:
    url = sealed(shop, bucket)
    own = bucket.get("weights.bin.ttm")
    sealed(shop, bucket, LENGTH, "other.ttm")
    other = bucket.get("other.ttm")
    for exchanged in (other, own[: len(own) // 2], own[: 3 << 20] + other[3 << 20 :]):
        bucket.put("weights.bin.ttm", own)
        with open_model(url, shop.manager, LICENSE) as model:
            assert model.read(1000) == pattern(1000)
            bucket.put("weights.bin.ttm", exchanged)
            for at in (4 << 20, 5 << 19):  # the half ends in the middle of the second one's segment
                model.seek(at)
                with pytest.raises((IntegrityError, UnavailableError)):
                    model.read(10)


def test_from_a_pipe_into_an_object_and_back_into_a_pipe(shop: Workshop, bucket: Bucket) -> None:
    with fed_pipe(pattern(LENGTH)) as source:
        encrypt(shop, source, bucket.url("a.ttm"), name="weights")
    assert inspect_model(bucket.url("a.ttm")).piped
    with open_model(bucket.url("a.ttm"), shop.manager, LICENSE) as model:
        assert model.read() == pattern(LENGTH)
    with fed_pipe(bucket.get("a.ttm")) as source:
        decrypt_model(shop.manager, source, bucket.url("back"), license_key=LICENSE)
    assert bucket.get("back") == pattern(LENGTH)


def test_a_damaged_container_becomes_no_object(shop: Workshop, bucket: Bucket) -> None:
    url = sealed(shop, bucket)
    damaged = bytearray(bucket.get("weights.bin.ttm"))
    damaged[3 << 20] ^= 1
    bucket.put("weights.bin.ttm", bytes(damaged))
    with pytest.raises(IntegrityError, match="segment"):
        decrypt_model(shop.manager, url, bucket.url("back"), license_key=LICENSE)
    assert (bucket.names(), bucket.uploads()) == (["weights.bin.ttm"], [])


def test_what_is_not_there(shop: Workshop, bucket: Bucket) -> None:
    for missing in (bucket.url("none.ttm"), "s3://no-such-bucket-of-ours/none.ttm"):
        with pytest.raises(NotFoundError):
            inspect_model(missing)
        with pytest.raises(NotFoundError):
            encrypt(shop, missing, bucket.url("a.ttm"))
    with pytest.raises(NotFoundError):
        encrypt(shop, shop.plain(), "s3://no-such-bucket-of-ours/a.ttm")
    bucket.put("folder/a.ttm", b"")
    with pytest.raises(RefusedError, match="folder"):
        inspect_model(bucket.url("folder"))
    encrypt(shop, shop.plain(), bucket.url("x.ttm"))
    with pytest.raises(UsageError, match="no default destination"):
        decrypt_model(shop.manager, bucket.url("x.ttm"), license_key=LICENSE)


NOT_TAKEN: dict[str, type[TikTrueKeysError]] = {
    "s3://user:geheim@bucket/a.ttm": UsageError,
    "https://user:geheim@host.example/a.ttm": UsageError,
    "https://host.example/a.ttm?X-Amz-Signature=geheim": UsageError,
    "simplecache::s3://bucket/a.ttm": UsageError,
    "s3://bucket/folder/": UsageError,
    "s3://": UsageError,
    "s3://bucket/a\nb": UsageError,
    "s3://bucket/" + "a" * 5000: UsageError,
    "nothing-like-that://bucket/a.ttm": UsageError,
    "gs://bucket/a.ttm": UnavailableError,  # its package is not among those of the tests
}


def test_urls_that_are_not_taken(shop: Workshop) -> None:
    pytest.importorskip("fsspec", reason="fsspec is installed by the extra `remote`")
    size, plain = shop.manager.audit_size(), shop.plain()
    for url, error in NOT_TAKEN.items():
        for operation in (partial(inspect_model, url), partial(encrypt, shop, plain, url)):
            with pytest.raises(error) as caught:
                operation()
            assert "geheim" not in f"{caught.value} {caught.value.hint}"
    assert "geheim" not in str(list(shop.manager.audit_records())[size:])


def test_a_file_url_is_a_path(tmp_path: Path) -> None:
    assert parse_place(f"file://{tmp_path}/a%20b.ttm") == tmp_path / "a b.ttm"
    with pytest.raises(UsageError, match="absolute path"):
        parse_place("file://relative")
