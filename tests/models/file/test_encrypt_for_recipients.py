"""Encrypting without keystore and license: what is made, who opens it, when it is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.keystores import LICENSE
from tests.models.workshop import EDGES, MODEL, Workshop, drained, fed_pipe, other_manager, pattern
from tiktrue_keys.core.instants import DAY, Instant
from tiktrue_keys.errors import (
    ExpiredError,
    NotFoundError,
    RefusedError,
    UsageError,
)
from tiktrue_keys.models.file.decrypt import decrypt_model
from tiktrue_keys.models.file.encrypt_for_recipients import SealedForRecipients, encrypt_for_recipients
from tiktrue_keys.models.file.export_public import export_recipient
from tiktrue_keys.models.file.inspect import inspect_model
from tiktrue_keys.models.file.rewrap import rewrap_model
from tiktrue_keys.models.format.recipient import Recipient


def exported(shop: Workshop, **options: Any) -> Recipient:
    return export_recipient(shop.manager, MODEL, license_key=LICENSE, **options).recipient


def seal(shop: Workshop, source: Any, destination: Any = None, **options: Any) -> SealedForRecipients:
    recipients = options.pop("recipients", None)
    now = options.pop("now", Instant(shop.desk.clock.now))
    given = [exported(shop)] if recipients is None else recipients
    return encrypt_for_recipients(source, destination, recipients=given, now=now, **options)


@pytest.mark.parametrize("length", EDGES)
def test_the_keystore_opens_what_was_sealed_for_it(shop: Workshop, length: int) -> None:
    made = seal(shop, shop.plain(length))
    assert made.destination is not None
    opened = shop.folder / "opened"
    result = decrypt_model(shop.manager, made.destination, opened, license_key=LICENSE, allow_unsigned=True)
    assert opened.read_bytes() == pattern(length)
    assert (result.signed, [notice.code for notice in result.warnings]) == (False, ["unsigned"])


def test_it_says_what_it_is(shop: Workshop) -> None:
    seen: list[tuple[int, int | None]] = []
    made = seal(shop, shop.plain(), progress=lambda done, total: seen.append((done, total)))
    assert isinstance(made.destination, Path)
    found = inspect_model(made.destination)
    assert (found.origin, found.signature, found.root) == ("recipient", "absent", made.root)
    assert [(wrap.type, wrap.key_id) for wrap in found.wraps] == [("hpke", shop.key.key_id)]
    assert seen[-1] == (5000, 5000)
    assert made.destination.stat().st_mode & 0o777 == 0o600


def test_it_touches_no_keystore(shop: Workshop) -> None:
    recipient = exported(shop)
    before = shop.manager.audit_size()
    seal(shop, shop.plain(), recipients=[recipient])
    assert shop.manager.audit_size() == before
    assert shop.manager.containers() == ()


def test_from_a_pipe_to_a_pipe(shop: Workshop) -> None:
    with fed_pipe(pattern(5000)) as source:
        made, data = drained(lambda sink: seal(shop, source, sink, name="weights"))
    assert (made.length, made.name, made.destination) == (5000, "weights", None)
    path = shop.folder / "piped.ttm"
    path.write_bytes(data)
    opened = shop.folder / "opened"
    decrypt_model(shop.manager, path, opened, license_key=LICENSE, allow_unsigned=True)
    assert opened.read_bytes() == pattern(5000)


def test_it_is_refused_until_signed(shop: Workshop) -> None:
    made = seal(shop, shop.plain())
    assert made.destination is not None
    with pytest.raises(RefusedError, match="not signed"):
        decrypt_model(shop.manager, made.destination, shop.folder / "out", license_key=LICENSE)


def test_a_rewrap_takes_it_to_the_managed_key_and_leaves_it_unsigned(shop: Workshop) -> None:
    made = seal(shop, shop.plain())
    assert made.destination is not None
    shop.manager.rotate([MODEL], license_key=LICENSE)
    rewrap_model(shop.manager, made.destination, license_key=LICENSE)
    found = inspect_model(made.destination)
    assert [(wrap.type, wrap.generation) for wrap in found.wraps] == [("managed-key", 2)]
    assert (found.origin, found.signature) == ("recipient", "absent")


def test_for_two_keystores_each_opens_it(shop: Workshop, tmp_path: Path) -> None:
    other = other_manager(tmp_path / "other")
    theirs = export_recipient(other, MODEL, license_key=LICENSE).recipient
    made = seal(shop, shop.plain(), recipients=[exported(shop), theirs])
    assert made.destination is not None
    for number, manager in enumerate((shop.manager, other)):
        opened = shop.folder / f"opened-{number}"
        decrypt_model(manager, made.destination, opened, license_key=LICENSE, allow_unsigned=True)
        assert opened.read_bytes() == pattern(5000)
    other.close()


def test_another_keystore_does_not_open_it(shop: Workshop, tmp_path: Path) -> None:
    other = other_manager(tmp_path / "other")
    made = seal(shop, shop.plain())
    assert made.destination is not None
    with pytest.raises(NotFoundError):
        decrypt_model(other, made.destination, shop.folder / "x", license_key=LICENSE, allow_unsigned=True)
    other.close()


def test_recipients_of_two_models_or_one_twice_are_refused(shop: Workshop) -> None:
    shop.manager.generate("other", license_key=LICENSE)
    other = export_recipient(shop.manager, "other", license_key=LICENSE).recipient
    for recipients in ([], [exported(shop), other], [exported(shop), exported(shop)]):
        with pytest.raises(UsageError):
            seal(shop, shop.plain(), recipients=recipients)
    assert shop.names() == {"weights.bin"}


@pytest.mark.parametrize("days", [30, 31])
def test_past_its_period_it_is_refused(shop: Workshop, days: int) -> None:
    now = Instant(shop.desk.clock.now + days * DAY)
    with pytest.raises(ExpiredError, match="was valid until 2026-12-25T12:00:00Z"):
        seal(shop, shop.plain(), now=now)
    assert shop.names() == {"weights.bin"}


@pytest.mark.parametrize(
    ("hours", "warned"), [(0, False), (22 * 24 + 11, False), (22 * 24 + 12, True), (29 * 24, True)]
)
def test_the_last_quarter_is_warned(shop: Workshop, hours: int, warned: bool) -> None:
    made = seal(shop, shop.plain(), now=Instant(shop.desk.clock.now + hours * 3600))
    assert [notice.code for notice in made.warnings] == (["recipient-expires"] if warned else [])


def test_an_existing_output_survives(shop: Workshop) -> None:
    source, target = shop.plain(), shop.folder / "out.ttm"
    target.write_text("mine")
    with pytest.raises(RefusedError):
        seal(shop, source, target)
    assert target.read_text() == "mine"
    seal(shop, source, target, force=True)
    assert inspect_model(target).origin == "recipient"


def test_it_does_not_take_its_sources_place(shop: Workshop) -> None:
    source = shop.plain()
    with pytest.raises(RefusedError):
        seal(shop, source, source, force=True)
    assert source.read_bytes() == pattern(5000)
