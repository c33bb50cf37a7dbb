"""What a person reads under an error, a warning and a kept key: the command to type, with the ids that it is about."""

from __future__ import annotations

import re

import pytest

from tests.core.keys.test_lifecycle import ACTIVE
from tiktrue_keys.cli.docs.reference import descriptions
from tiktrue_keys.cli.view.hints import REMEDIES, hint_of, message_of, own_hint, reason_of
from tiktrue_keys.core.keys.key_results import Kept
from tiktrue_keys.core.notices import Notice
from tiktrue_keys.errors import (
    BusyError,
    ExpiredError,
    InternalError,
    NotFoundError,
    RefusedError,
    TikTrueKeysError,
    WrongMachineError,
)


@pytest.mark.parametrize(
    ("error", "hint"),
    [
        (
            BusyError("in use", "pass a longer lock_timeout", remedy="wait-longer"),
            "wait, or use a longer --lock-timeout",
        ),
        (ExpiredError("expired", "rotate it", key_id="m_01", remedy="rotate-key"), "run tiktrue-keys rotate m_01"),
        (
            RefusedError("part", remedy="part-of-folder", about={"folder": "/srv/my models"}),
            "re-encrypt the whole folder: tiktrue-keys reencrypt-model '/srv/my models'",
        ),
        (
            WrongMachineError("no", "it was made at /etc/secret", remedy="recover-with-escrow"),
            "it was made at /etc/secret; or recover with the escrow's shares: tiktrue-keys escrow recover",
        ),
        (RefusedError("no", "choose another name"), "choose another name"),
    ],
)
def test_the_command_line_has_words_of_its_own_for_a_remedy(error: TikTrueKeysError, hint: str) -> None:
    assert own_hint(error) == hint_of(error) == hint


def test_an_error_without_a_word_has_the_hint_of_its_kind() -> None:
    assert own_hint(NotFoundError("gone")) == ""
    assert hint_of(NotFoundError("gone")) == "check the name and the folder"
    assert hint_of(InternalError("a bug")) == ""


def test_another_error_takes_the_advice_over() -> None:
    inner = ExpiredError("expired", "rotate it", key_id="m_01", remedy="rotate-successor", about={"successor": "m_02"})
    assert hint_of(RefusedError("no", **inner.advice)) == "run tiktrue-keys rotate m_02"


def test_a_warning_ends_with_what_to_do() -> None:
    notice = Notice("stale", "two copies differ", remedy="finish-rewrap", about={"path": "a b.ttm"})
    assert message_of(notice) == "two copies differ; finish it: tiktrue-keys rewrap-model 'a b.ttm'"
    assert message_of(Notice("stale", "two copies differ")) == "two copies differ"


def test_a_kept_key_has_its_reason_and_what_to_do() -> None:
    kept = Kept(ACTIVE, "its public half was exported", remedy="confirm-exported")
    assert reason_of(kept).endswith(
        f"exported; if no file was made with it, run tiktrue-keys cleanup --confirm {ACTIVE.key_id}"
    )
    assert reason_of(Kept(ACTIVE, "it is needed")) == "it is needed"


OPTIONS = {each.name: {name for option in each.options for name in option.names} for each in descriptions()}
OPTION = re.compile(r"(?<!\S)--?[a-z][a-z-]*")
OTHER_PROGRAMS = re.compile(
    r"ssh-keygen -Y sign -n tiktrue-keys -f KEY plan.txt|systemd-tmpfiles --create|openssl rand -hex 32"
    r"|journalctl -t tiktrue-keys|runuser -u \{user\} -- tiktrue-keys|rm -r \{folder\}"
)


@pytest.mark.parametrize("remedy", REMEDIES)
def test_the_words_of_a_remedy_can_be_typed(remedy: str) -> None:
    words = OTHER_PROGRAMS.sub("", REMEDIES[remedy])
    for typed in re.findall(r"\btiktrue-keys ([^,;:)]*)", words):
        first, second = (*typed.split(), "")[:2]
        command = first if first in OPTIONS and f"{first} {second}" not in OPTIONS else f"{first} {second}"
        assert command in OPTIONS
        assert {*OPTION.findall(typed)} <= OPTIONS[command]
    assert {*OPTION.findall(words)} <= set().union(*OPTIONS.values())
