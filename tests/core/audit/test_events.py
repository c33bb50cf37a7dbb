"""The catalogue of audit events is sorted and told in whole sentences; what is recorded is in it."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.audit_catalogue import unlisted
from tests.keystores import LICENSE, Desk
from tests.models.workshop import MODEL, Workshop
from tiktrue_keys.core.audit.events import CATALOGUE, EVENTS, EVERYWHERE
from tiktrue_keys.core.keys.lifecycle import Use
from tiktrue_keys.errors import TikTrueKeysError
from tiktrue_keys.models.file.decrypt import decrypt_model
from tiktrue_keys.models.file.encrypt import encrypt_model


def test_the_catalogue_is_sorted_and_says_something_of_each() -> None:
    assert list(EVENTS) == sorted(EVENTS)
    for name, event in CATALOGUE.items():
        assert event.meaning.endswith("."), name
        assert not set(event.members) & set(EVERYWHERE) - {"path", "keys"}, name


def test_a_record_outside_of_the_catalogue_is_found(desk: Desk) -> None:
    manager = desk.manager()
    manager.generate("a", no_license=True)
    assert unlisted(manager) == []
    with manager.session.write("x") as transaction:  # type: ignore[arg-type]
        transaction.record("unheard-of")
        transaction.record("rotate", detail={"successor": "x", "novel": 1})
    assert unlisted(manager) == ["rotate novel", "unheard-of"]


def test_a_refusal_is_recorded_with_key_model_and_file(shop: Workshop) -> None:
    """Whatever was asked for: what a record lacks, an administrator cannot filter for."""
    manager, key, container = shop.manager, shop.key, shop.sealed()
    source = shop.plain()
    manager.revoke([key.key_id], reason="r")

    def refused(work: Callable[[], object]) -> tuple[str, str | None, str | None, str | None]:
        with pytest.raises(TikTrueKeysError):
            work()
        *_, record = manager.audit_records()
        assert record.outcome == "refused"
        return record.event, record.key_id, record.model_id, record.detail.get("path")

    who = (key.key_id, MODEL)
    assert refused(lambda: decrypt_model(manager, container, shop.folder / "new", license_key=LICENSE)) == (
        "decrypt",
        *who,
        str(container),
    )
    assert refused(lambda: encrypt_model(manager, source, key=MODEL, license_key=LICENSE, force=True)) == (
        "encrypt",
        *who,
        str(source),
    )
    assert refused(lambda: manager.export_public(MODEL, LICENSE)) == ("export-public", *who, None)
    assert refused(lambda: manager.open_key(MODEL, LICENSE, use=Use.ENCRYPT)) == ("open", *who, None)
    other = manager.generate("other", no_license=True).keys[0]
    assert refused(lambda: manager.generate("other", no_license=True)) == ("generate", other.key_id, "other", None)
    assert refused(lambda: manager.backup(shop.desk.folder / "x")) == (
        "backup",
        None,
        None,
        str(shop.desk.folder / "x"),
    )
    several = [key.key_id, other.key_id]
    assert refused(lambda: manager.rotate(several, license_key="another license"))[0] == "rotate"
