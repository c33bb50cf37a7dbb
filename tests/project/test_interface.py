"""What others rely on may grow, and changes in no other way: the lists in `frozen/` against the code."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from tests.project.audit_events import Search, UntraceableEventError
from tests.project.interface import NOT_PROMISED, broken, current, envelope_members, read
from tiktrue_keys import KeyManager
from tiktrue_keys.core.audit.events import EVENTS
from tiktrue_keys.core.audit.export import _OCSF_ACTIVITIES

LISTS = ("python", "commands", "exit-codes", "envelope", "audit-events")


@pytest.fixture(scope="module")
def now() -> dict[str, dict[str, str]]:
    return {name: dict(entries) for name, entries in current().items()}


def test_there_is_a_list_of_each_kind(now: dict[str, dict[str, str]]) -> None:
    assert tuple(now) == LISTS
    for name in LISTS:
        assert len(read(name)) > 15, name


@pytest.mark.parametrize("name", LISTS)
def test_nothing_that_is_listed_was_removed_or_changed(now: dict[str, dict[str, str]], name: str) -> None:
    assert broken(read(name), now[name]) == [], "others rely on it: bring it back; an old name may stay as an alias"


@pytest.mark.parametrize("name", LISTS)
def test_whatever_there_is_is_listed(now: dict[str, dict[str, str]], name: str) -> None:
    assert sorted(set(now[name]) - set(read(name))) == [], "new: to promise it, run `make generate` and read the diff"


def test_what_counts_as_broken() -> None:
    frozen = {"show": "command", "show KEY": "required value", "show --all": "optional flag"}

    assert broken(frozen, frozen) == []
    assert broken(frozen, frozen | {"show --deep": "optional flag", "tell": "command"}) == []
    assert broken(frozen, frozen | {"tell": "command", "tell WHOM": "required value"}) == []
    assert broken(frozen, {**frozen, "show --all": "optional value"}) == [
        "show --all: was optional flag, is optional value"
    ]
    assert broken(frozen, {"show": "command", "show KEY": "required value"}) == ["show --all: removed"]
    assert broken(frozen, frozen | {"show --why": "required value"}) == ["show --why: new, and required"]


def test_a_member_of_the_envelope_that_may_now_be_missing_is_a_change() -> None:
    schema = {"properties": {"ok": {"type": "boolean"}}, "required": ["ok"], "$defs": {}, "allOf": []}

    assert envelope_members(schema) == {"ok": "always boolean"}
    assert envelope_members(schema | {"required": []}) == {"ok": "sometimes boolean"}


def test_what_is_not_promised_exists() -> None:
    assert {name.removeprefix("KeyManager.") for name in NOT_PROMISED} <= set(dir(KeyManager))


def test_the_events_to_choose_from_are_those_that_are_recorded(now: dict[str, dict[str, str]]) -> None:
    assert tuple(sorted(now["audit-events"])) == EVENTS


def test_the_events_that_other_formats_know_are_found(now: dict[str, dict[str, str]]) -> None:
    assert set(_OCSF_ACTIVITIES) <= set(now["audit-events"])


RECORDING = """
EVENT = "keep"
class Transaction:
    def record(self, event: str, *, outcome="ok"): ...
class Intent:
    place: str
    operation: str
class Request:
    @classmethod
    def of(cls, operation: str): ...
class Other:
    @classmethod
    def of(cls, what: str): ...
def noted(manager, name): manager.noting(name)
def noting(self, event: str): ...
def work(transaction, manager, operation, *, how="by-default"):
    transaction.record("plain")
    transaction.record(EVENT)
    transaction.record("one" if operation else "other")
    transaction.record(operation.operation)
    Intent("a-place", operation="intended")
    Request.of("asked")
    Other.of("not-an-event")
    noted(manager, "handed-on")
    chosen = named(operation)
    transaction.record(chosen)
    finish(transaction, what=EVENT)
def named(operation): return "returned" if operation else EVENT
def finish(transaction, what, *, last="at-last"): transaction.record(what); transaction.record(event=last)
"""


def test_an_event_is_found_wherever_it_is_named() -> None:
    names = {"plain", "keep", "one", "other", "intended", "asked", "handed-on", "returned", "at-last"}

    assert set(Search({"m.py": ast.parse(RECORDING)}).run()) == names


def test_a_constant_of_another_module_is_found() -> None:
    source = "from p import names\nfrom p.names import DONE as IT\ndef record(event: str): ...\n"
    source += "def work(): record(names.BEGUN); record(IT)\n"
    modules = {"m.py": ast.parse(source), "p/names.py": ast.parse("BEGUN = 'begun'\nDONE = 'done'\n")}

    assert set(Search(modules).run()) == {"begun", "done"}


@pytest.mark.parametrize("given", ["'a' + suffix", "names[0]", "f'cleanup-{what}'", "unknown", "elsewhere()"])
def test_an_event_that_cannot_be_told_is_an_error(given: str) -> None:
    source = f"class T:\n    def record(self, event: str): ...\ndef work(t):\n    t.record({given})\n"

    with pytest.raises(UntraceableEventError, match=r"m\.py:4"):
        Search({"m.py": ast.parse(source)}).run()


def test_the_writer_is_what_make_generate_runs() -> None:
    makefile = (Path(__file__).parents[2] / "Makefile").read_text("utf-8")

    assert "python -m tests.project.interface" in makefile
