"""Rewrap and sign in object storage: a small object beside the body, which readers follow; the body is never copied."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest

from tests.keystores import LICENSE, error_of
from tests.models.file.test_rewrap import rotated
from tests.models.workshop import MODEL, Workshop, pattern
from tests.remote.conftest import Bucket
from tests.remote.test_objects import LENGTH, sealed
from tiktrue_keys.core.containers.registry import ContainerRecord
from tiktrue_keys.core.keys.lifecycle import Use
from tiktrue_keys.core.secret import SecretBuffer
from tiktrue_keys.errors import BusyError, IntegrityError, NotFoundError, RefusedError, RevokedError
from tiktrue_keys.models.container.data_key import open_data_key
from tiktrue_keys.models.container.header_of import slots_at
from tiktrue_keys.models.file.decrypt import decrypt_model
from tiktrue_keys.models.file.encrypt import encrypt_model
from tiktrue_keys.models.file.inspect import inspect_model
from tiktrue_keys.models.file.open import open_model
from tiktrue_keys.models.file.rewrap import rewrap_model
from tiktrue_keys.models.file.sign import sign_model
from tiktrue_keys.models.file.verify import verify_model
from tiktrue_keys.models.format.detached_header import LENGTH as DETACHED_LENGTH
from tiktrue_keys.models.format.detached_header import Detached
from tiktrue_keys.models.format.header_slots import HEADER_SIZE, SLOT_SIZE, decode_slots, encode_slot
from tiktrue_keys.models.format.trailer import Signature, signature_place
from tiktrue_keys.models.format.wraps import wrap_for_key
from tiktrue_keys.models.registry.containers import HeaderReader
from tiktrue_keys.models.storage.location import Url
from tiktrue_keys.models.storage.objects import HeldObject, ObjectStorage

NAME = "weights.bin.ttm"
SMALL = 4 * HEADER_SIZE
"""Two headers read, one written, the end of a container, and what the requests themselves are long."""


def rewrapped(shop: Workshop, bucket: Bucket, length: int = 5000) -> tuple[str, str, str]:
    """The URL of a container that was rewrapped, and the old and the new key's id."""
    url = sealed(shop, bucket, length)
    old, new = rotated(shop)
    assert rewrap_model(shop.manager, url, license_key=LICENSE).changed
    return url, old, new


def only_record(shop: Workshop) -> ContainerRecord:
    (record,) = shop.manager.containers()
    return record


def test_a_rewrap_writes_beside_and_never_copies_the_body(shop: Workshop, bucket: Bucket) -> None:
    url = sealed(shop, bucket)
    before = bucket.get(NAME)
    old, new = rotated(shop)
    with bucket.relay.counted() as taken:
        result = rewrap_model(shop.manager, url, license_key=LICENSE)
    assert sum(taken) < SMALL
    assert (result.keys_before, result.keys_after) == (frozenset({old}), frozenset({new}))
    assert bucket.names() == [NAME, f"{NAME}.ttmh"]
    assert bucket.get(NAME) == before
    assert len(bucket.get(f"{NAME}.ttmh")) == DETACHED_LENGTH
    assert inspect_model(url).sequence == 2
    assert decrypt_model(shop.manager, url, shop.folder / "back", license_key=LICENSE).key.key_id == new
    assert (shop.folder / "back").read_bytes() == pattern(LENGTH)


def test_the_old_key_opens_it_no_more_and_is_not_needed(shop: Workshop, bucket: Bucket) -> None:
    url, old, new = rewrapped(shop, bucket)
    assert HeaderReader().wraps_in(only_record(shop)) == only_record(shop).keys == {new}
    header = slots_at(url).current.header
    assert header.key_ids == {new}
    assert shop.manager.containers(old) == ()
    shop.manager.revoke([new], reason="a test")
    with pytest.raises(RevokedError):
        open_model(url, shop.manager, LICENSE)


def test_a_second_rewrap_replaces_the_first_ones_header(shop: Workshop, bucket: Bucket) -> None:
    url, _, _ = rewrapped(shop, bucket)
    assert not rewrap_model(shop.manager, url, license_key=LICENSE).changed
    _, new = rotated(shop)
    rewrap_model(shop.manager, url, license_key=LICENSE)
    assert inspect_model(url).sequence == 3
    assert slots_at(url).current.header.key_ids == {new}
    assert bucket.names() == [NAME, f"{NAME}.ttmh"]


def test_of_two_at_once_the_second_one_is_told(shop: Workshop, bucket: Bucket) -> None:
    url = sealed(shop, bucket, 5000)
    held = partial(HeldObject, ObjectStorage(Url("s3", url.removeprefix("s3://"))))
    slots = slots_at(url)
    with open_data_key(shop.manager, slots.current.header, LICENSE, Use.DECRYPT) as opened:
        data_key = opened.secret.view
        for expected in (type(None), Detached):  # first it is made (If-None-Match), then replaced (If-Match)
            first, second = held(), held()
            header = first.slots().current.header
            assert second.slots().current.header == header
            assert type(held().detached(header.file_id)) is expected
            second.rewrite(header, data_key)
            written = bucket.get(f"{NAME}.ttmh")
            with pytest.raises(BusyError, match="another process"):
                first.rewrite(header, data_key)
            assert bucket.get(f"{NAME}.ttmh") == written


def test_signing_what_ci_has_sealed(shop: Workshop, bucket: Bucket) -> None:
    url = bucket.put(NAME, shop.unsigned(LENGTH).read_bytes())
    root = inspect_model(url).root
    with pytest.raises(RefusedError, match="not signed"):
        open_model(url, shop.manager, LICENSE)
    with pytest.raises(IntegrityError, match="the expected root"):
        sign_model(shop.manager, url, expected_root=bytes(32), license_key=LICENSE)
    before = bucket.get(NAME)
    with bucket.relay.counted() as taken:
        assert sign_model(shop.manager, url, expected_root=root, license_key=LICENSE).changed
    up, down = taken
    assert up < SMALL
    assert down < len(before) + SMALL
    assert bucket.get(NAME) == before
    assert verify_model(shop.manager, url, license_key=LICENSE).signed
    assert not sign_model(shop.manager, url, expected_root=root, license_key=LICENSE).changed
    rotated(shop)
    rewrap_model(shop.manager, url, license_key=LICENSE)
    assert verify_model(shop.manager, url, license_key=LICENSE).signed
    bucket.remove(f"{NAME}.ttmh")
    with pytest.raises(IntegrityError, match="signature was removed"):
        verify_model(shop.manager, url, license_key=LICENSE, allow_unsigned=True)


def test_no_change_of_it_is_passed_over(shop: Workshop, bucket: Bucket) -> None:
    url, _, _ = rewrapped(shop, bucket)
    whole = bucket.get(f"{NAME}.ttmh")
    damaged = {f"cut to {length}": whole[:length] for length in (1, 24, DETACHED_LENGTH - 1)}
    damaged |= {f"{more} longer": whole + bytes(more) for more in (1, 1 << 20)}
    for at in (0, 5, 7, 24 + 70, 24 + SLOT_SIZE - 1, 24 + SLOT_SIZE + 70):
        damaged[f"byte {at}"] = whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :]
    for what, data in damaged.items():
        bucket.put(f"{NAME}.ttmh", data)
        with bucket.relay.counted() as taken:
            assert isinstance(error_of(partial(open_model, url, shop.manager, LICENSE)), IntegrityError), what
        assert sum(taken) < SMALL, what


def test_a_header_under_another_data_key_is_refused(shop: Workshop, bucket: Bucket) -> None:
    """Whoever may write to the storage wraps a data key of his own for the public half: the body's header denies it."""
    url, _, _ = rewrapped(shop, bucket)
    header, key = slots_at(url).current.header, shop.key
    bound: dict[str, Any] = {"file_id": header.file_id, "model_id": MODEL, "generation": key.generation}
    with (
        SecretBuffer.copy_of(bytes(32)) as other,
        shop.manager.open_key(MODEL, LICENSE, use=Use.ENCRYPT) as opened,
    ):
        wrap = wrap_for_key(other.view, opened.secret.view, key_id=key.key_id, **bound)
        raw = encode_slot(header.with_wraps((wrap,)), 9, other.view)
    bucket.put(f"{NAME}.ttmh", Detached(header.file_id, decode_slots(raw * 2)).encode())
    with pytest.raises(IntegrityError, match="header was changed"):
        open_model(url, shop.manager, LICENSE)
    with pytest.raises(IntegrityError, match="header was changed"):
        rewrap_model(shop.manager, url, license_key=LICENSE)


@pytest.mark.parametrize("more", [0, 1])
def test_only_one_of_a_higher_number_counts(shop: Workshop, bucket: Bucket, more: int) -> None:
    url = sealed(shop, bucket, 5000)
    old, new = rotated(shop)
    own = slots_at(url).current
    bound: dict[str, Any] = {"file_id": own.header.file_id, "model_id": MODEL, "generation": shop.key.generation}
    with (
        open_data_key(shop.manager, own.header, LICENSE, Use.DECRYPT) as opened,
        shop.manager.open_key(MODEL, LICENSE, use=Use.ENCRYPT) as managed,
    ):
        wrap = wrap_for_key(opened.secret.view, managed.secret.view, key_id=new, **bound)
        raw = encode_slot(own.header.with_wraps((wrap,)), own.sequence + more, opened.secret.view)
    bucket.put(f"{NAME}.ttmh", Detached(own.header.file_id, decode_slots(raw * 2)).encode())
    assert slots_at(url).current.header.key_ids == {new if more else old}
    with open_model(url, shop.manager, LICENSE) as model:
        assert model.read() == pattern(5000)


def test_a_signature_beside_the_containers_own_does_not_count(shop: Workshop, bucket: Bucket) -> None:
    url, _, _ = rewrapped(shop, bucket)
    slots, place = slots_at(url), signature_place(inspect_model(url).root, Signature(b"I" * 32, b"S" * 64))
    bucket.put(f"{NAME}.ttmh", Detached(slots.current.header.file_id, slots, place).encode())
    assert verify_model(shop.manager, url, license_key=LICENSE).signed


def test_an_older_one_brings_back_its_keys_and_no_more(shop: Workshop, bucket: Bucket) -> None:
    """What security.7 says: the same as older slots put back. It takes a key that opens them."""
    url, _, first = rewrapped(shop, bucket)
    older = bucket.get(f"{NAME}.ttmh")
    rotated(shop)
    rewrap_model(shop.manager, url, license_key=LICENSE)
    bucket.put(f"{NAME}.ttmh", older)
    assert slots_at(url).current.header.key_ids == {first}
    shop.manager.revoke([first], reason="a test")
    with pytest.raises(RevokedError):
        open_model(url, shop.manager, LICENSE)


def test_what_is_left_beside_a_replaced_container_is_not_looked_at(shop: Workshop, bucket: Bucket) -> None:
    url, _, _ = rewrapped(shop, bucket)
    left = bucket.get(f"{NAME}.ttmh")
    file = shop.plain(700)
    with pytest.raises(RefusedError, match="exists already"):
        encrypt_model(shop.manager, file, url, key="llama/7b", license_key=LICENSE)
    made = encrypt_model(shop.manager, file, url, key="llama/7b", license_key=LICENSE, force=True)
    assert bucket.names() == [NAME]
    assert only_record(shop).file_id == made.file_id
    bucket.put(f"{NAME}.ttmh", left[: len(left) - 5])
    with open_model(url, shop.manager, LICENSE) as model:
        assert model.read() == pattern(700)
    assert rotated(shop)
    rewrap_model(shop.manager, url, license_key=LICENSE)
    assert inspect_model(url).sequence == 2


def test_no_container_no_header(shop: Workshop, bucket: Bucket) -> None:
    with pytest.raises(NotFoundError, match="does not exist"):
        rewrap_model(shop.manager, bucket.url("none.ttm"), license_key=LICENSE)
    with pytest.raises(IntegrityError, match="not a model container"):
        rewrap_model(shop.manager, bucket.put("other.ttm", b"text"), license_key=LICENSE)
