"""What the text of a license shows, and how strong it is."""

from __future__ import annotations

import base64
import hashlib
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.keystores import Desk, error_of
from tiktrue_keys.core.keys.license_entries import entries, put_entry
from tiktrue_keys.core.keys.license_text import STRONG, estimated_bits, oddities
from tiktrue_keys.core.keys.lifecycle import Use
from tiktrue_keys.core.manager import KeyManager
from tiktrue_keys.core.names import new_operation_id
from tiktrue_keys.errors import WrongLicenseError

RANDOM = hashlib.sha256(b"a license").digest()
BOM = b"\xef\xbb\xbf"


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (b"a license", ()),
        (b"a license\n ", ("ends in a blank or a line end",)),
        (b"a license\r", ("ends in a blank or a line end",)),
        (b"\ta license", ("begins with a blank or a line end",)),
        (BOM + b"a license", ("begins with a byte order mark",)),
        (
            BOM + b" a ",
            ("begins with a byte order mark", "begins with a blank or a line end", "ends in a blank or a line end"),
        ),
        ("\ufeffkey".encode("utf-16-le"), ("is UTF-16 text",)),
        ("key".encode("utf-16-be"), ("is UTF-16 text",)),
        (b"", ()),
    ],
)
def test_what_a_copy_may_lose_is_named(text: bytes, found: tuple[str, ...]) -> None:
    assert oddities(text) == found


@pytest.mark.parametrize(
    "text",
    [
        RANDOM.hex(),
        RANDOM[:16].hex(),
        base64.b64encode(RANDOM).decode(),
        "K7QF-2MZP-9XWD-RT4H-B6NC-V3YJ",
        "0193" * 2 + RANDOM.hex(),
    ],
)
def test_a_random_license_is_strong(text: str) -> None:
    assert estimated_bits(text.encode()) >= STRONG


@pytest.mark.parametrize(
    "text",
    [
        "",
        "secret",
        "Correct horse battery staple",
        "TIKTRUE-2026",
        "0" * 64,
        "1234567890",
        "ACME" * 40,
        "license " * 20,
        "acme-acme-acme-acme-2026",
    ],
)
def test_a_license_that_a_person_chose_is_weak(text: str) -> None:
    assert estimated_bits(text.encode()) < STRONG


@given(st.binary(max_size=200))
def test_every_text_has_an_estimate_within_its_length(text: bytes) -> None:
    assert 0 <= estimated_bits(text) <= 12 * len(text)


def test_a_weak_license_is_a_finding_and_an_odd_one_is_named_once(desk: Desk) -> None:
    odd = BOM + RANDOM.hex().encode() + b" "
    with desk.manager() as manager:
        first = manager.generate("one", license_key=odd)
        again = manager.generate("two", license_key=odd)
        assert [notice.code for notice in first.warnings if notice.code == "odd-license"] == ["odd-license"]
        assert "odd-license" not in {notice.code for notice in again.warnings}
        assert "weak-license" not in {finding.id for finding in manager.status().findings}
        error = error_of(lambda: manager.open_key("one", BOM + b"another", use=Use.DECRYPT))
        assert isinstance(error, WrongLicenseError)
        assert error.message.endswith("the one given begins with a byte order mark")
        manager.generate("three", license_key="a word", new_license=True)
        (weak,) = [finding for finding in manager.status().findings if finding.id == "weak-license"]
        assert "fewer than 20 bits" in weak.message


def test_the_strength_of_an_older_license_is_stored_when_it_is_given_again(desk: Desk) -> None:
    with desk.manager() as manager:
        key = manager.generate("one", license_key="a word").keys[0]
        assert [finding.subject for finding in manager.status().findings if finding.id == "weak-license"] == [
            key.license_tag
        ]
        forget_strengths(manager)
        assert "weak-license" not in {finding.id for finding in manager.status().findings}
        manager.generate("two", license_key="a word")
        assert "weak-license" in {finding.id for finding in manager.status().findings}


def forget_strengths(manager: KeyManager) -> None:
    """As an older program left the record."""
    session = manager.session
    with session.write(new_operation_id()) as transaction:
        for entry in entries(transaction.rows, session.root_keys):
            put_entry(transaction.rows, replace(entry, strength=None))
        transaction.record("license-enroll", detail={})
