"""A keystore with a licensed and an unlicensed key."""

from __future__ import annotations

import pytest

from tests.keystores import LICENSE, Desk
from tiktrue_keys.core import session
from tiktrue_keys.core.machine import read_facts
from tiktrue_keys.core.manager import KeyManager


@pytest.fixture(autouse=True)
def this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever machine a test becomes (tests.faults.facts), the next one runs on this one again."""
    monkeypatch.setattr(session, "read_facts", read_facts)


@pytest.fixture
def manager(desk: Desk) -> KeyManager:
    made = desk.manager()
    made.generate("llama", license_key=LICENSE)
    made.generate("open", no_license=True)
    return made
