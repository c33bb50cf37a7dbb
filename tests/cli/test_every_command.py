"""What holds for every command: a folder that others can write is insecure, and a rehearsal changes nothing."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from tests.every_command import ARGUMENTS, outcomes
from tests.program import LICENSE, Program
from tiktrue_keys.models.file.encrypt import encrypt_model

NO_KEYSTORE = {
    "inspect-model": 0,
    "binding show": 0,
    "config show": 0,
    "completion": 0,
    "exec-model": 125,  # its own failures; the words tell
    "escrow recover": 3,  # opens the backup by shares
    "approvals add": 3,  # reads the signature first
    "fleet add": 3,  # reads the card first
}
"""The commands that end otherwise where a folder is insecure: most open no keystore."""

ALLOWED = {
    *("list", "show", "validate", "status", "doctor", "metrics", "config show", "completion", "binding show"),
    *("audit show", "audit verify", "audit export", "audit checkpoint", "audit prove", "approvals policy"),
    *("models list", "models scan", "approvals list", "fleet list", "fleet status"),
    *("decrypt-model", "verify-model", "inspect-model", "exec-model"),
    *("rewrap-model", "sign-model"),  # there is nothing to do
}
"""What a rehearsal does."""

NOT_THERE = {
    *("approvals export", "approvals add", "fleet add", "fleet show", "fleet remove"),
    *("escrow show", "escrow verify", "escrow recover"),
}
"""What ends in 3 before it could change anything: the plan, node, card, share or escrow does not exist."""


@pytest.fixture
def seeded(program: Program) -> tuple[Program, Mapping[str, str]]:
    """A keystore with a model's container, a backup and a rehearsal; and the ids that the commands name."""
    key = program.generate("m")
    for name, text in (("model", "a model"), ("license", LICENSE), ("another", "another license")):
        (program.folder / name).write_text(text)
        (program.folder / name).chmod(0o600)
    (program.folder / "spool").mkdir()
    with program.manager() as manager:
        made = encrypt_model(
            manager, program.folder / "model", program.folder / "model.ttm", key="m", license_key=LICENSE
        )
        manager.backup(program.folder / "copy.db")
        manager.rehearse(program.folder / "copy.db", program.folder / "rehearsal")
    return program, {"KEY": key.key_id, "FILE_ID": made.file_id.hex(), "ROOT": made.root.hex()}


def test_a_folder_that_others_can_write_is_insecure_in_every_command(seeded: tuple[Program, Mapping[str, str]]) -> None:
    program, names = seeded
    (program.folder / "host").chmod(0o770)

    found = outcomes(program, names)

    assert {name: each.exit for name, each in found.items()} == dict.fromkeys(ARGUMENTS, 13) | NO_KEYSTORE
    for name in (*(ARGUMENTS.keys() - NO_KEYSTORE), "exec-model"):
        assert f"the folder {program.folder}/host can be written by others (mode 0770)" in found[name].words, name


def test_a_rehearsal_lists_verifies_and_decrypts_and_refuses_every_other_command(
    seeded: tuple[Program, Mapping[str, str]],
) -> None:
    program, names = seeded
    before = {path: path.read_bytes() for path in (program.folder / "model.ttm", *program.folder.glob("host/*"))}

    found = outcomes(program, names, "--keystore", "rehearsal")

    refused = ARGUMENTS.keys() - ALLOWED - NOT_THERE
    wanted = dict.fromkeys(ALLOWED, 0) | dict.fromkeys(NOT_THERE, 3) | dict.fromkeys(refused, 5)
    assert {name: each.exit for name, each in found.items()} == wanted
    for name in refused - {"fleet send", "fleet receive"}:  # which find no node and no issuer first
        assert "rehearsal" in found[name].words, name
    assert before == {path: path.read_bytes() for path in before}
    assert not list((program.folder / "spool").iterdir())
    assert program.json("rotate", "m")["changed"]
