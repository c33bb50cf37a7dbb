"""tiktrue-keys-protocol(7), the models and the code name the same rules, checks and steps."""

from __future__ import annotations

import re
from importlib import import_module
from typing import Any

import pytest

from tests.model.check import FAULTS, FOLDER

PAGE = (FOLDER.parents[1] / "man" / "tiktrue-keys-protocol.7").read_text("utf-8")
MODELS = {name: (FOLDER / f"{name}.pml").read_text("utf-8") for name in ("streams", "promotion")}
SAID = {"go back": "goes back", "take": "takes", "answer": "answers", "promote": "promoted", "collect": "collect()"}
"""What a model says of a step, where it is not the page's word."""
RULES = dict(re.findall(r'^\.\\" rule: (\w+) (\S+)$', PAGE, re.MULTILINE))


def section(heading: str) -> str:
    return PAGE.partition(f".Sh {heading}\n")[2].partition("\n.Sh ")[0]


def items(text: str) -> list[str]:
    return re.findall(r"^\.It (.+)$", text, re.MULTILINE)


def test_the_page_has_each_rule_that_a_model_can_be_run_without() -> None:
    assert sorted(items(section("RULES"))) == sorted(run.fault for run in FAULTS)
    assert items(section("RULES")) == list(RULES)


@pytest.mark.parametrize("rule", RULES)
def test_the_code_of_a_rule_is_where_the_page_says(rule: str) -> None:
    names = RULES[rule].split(".")
    package = next(count for count in range(len(names) - 1, 0, -1) if _is_module(".".join(names[:count])))
    found: Any = import_module(".".join(names[:package]))
    for name in names[package:]:
        found = getattr(found, name)
    assert callable(found) or isinstance(found, property)


def test_the_page_has_each_check_of_the_models() -> None:
    checked = [name for text in MODELS.values() for name in re.findall(r"^ \*   (\w+)  +[a-z]", text, re.MULTILINE)]
    assert items(section("WHAT HOLDS")) == checked
    assert {f"ltl {name}" for name in checked[-3:]} <= {
        match[0] for match in re.finditer(r"ltl \w+", MODELS["promotion"])
    }


@pytest.mark.parametrize("step", items(section("STEPS")))
def test_each_step_of_the_page_is_in_a_model(step: str) -> None:
    assert SAID.get(step, step) in "".join(MODELS.values())


def _is_module(name: str) -> bool:
    try:
        import_module(name)
    except ModuleNotFoundError:
        return False
    return True
