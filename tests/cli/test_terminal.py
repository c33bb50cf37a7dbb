"""What is asked and drawn on a real terminal: prompts, hidden input, tables, trees. Nothing of it without one."""

from __future__ import annotations

import os
import re
import threading
import time
from pathlib import Path

import pytest

from tests.program import LICENSE, Program
from tests.terminal import Terminal


def test_the_license_is_asked_for_twice_and_not_echoed(program: Program) -> None:
    terminal = Terminal(program.without("TIKTRUE_LICENSE_KEY"), "generate", "m")
    terminal.wait_for("License: ")
    terminal.type(f"{LICENSE}\n")
    terminal.wait_for("License again: ")
    terminal.type(f"{LICENSE}\n")

    assert terminal.end() == 0
    assert LICENSE not in terminal.said
    assert program.run("rotate", "m").returncode == 0  # the very license that the variable holds


def test_two_different_entries_are_refused(program: Program) -> None:
    terminal = Terminal(program.without("TIKTRUE_LICENSE_KEY"), "generate", "m")
    terminal.wait_for("License: ")
    terminal.type("one\n")
    terminal.wait_for("License again: ")
    terminal.type("two\n")

    assert terminal.end() == 2
    assert "error: the two entries differ" in terminal.said
    assert not (program.keystore / "keystore.db").exists()


def test_ctrl_c_at_the_license_is_130_and_changes_nothing(program: Program) -> None:
    terminal = Terminal(program.without("TIKTRUE_LICENSE_KEY"), "generate", "m")
    terminal.wait_for("License: ")
    terminal.type("\x03")

    assert terminal.end() == 130
    assert "error: interrupted" in terminal.said
    assert "Traceback" not in terminal.said
    assert not (program.keystore / "keystore.db").exists()


def test_end_of_input_at_the_license_is_130(program: Program) -> None:
    terminal = Terminal(program.without("TIKTRUE_LICENSE_KEY"), "generate", "m")
    terminal.wait_for("License: ")
    terminal.type("\x04")

    assert terminal.end() == 130


@pytest.mark.parametrize(
    ("answer", "code", "status"), [("y\n", 0, "revoked"), ("n\n", 5, "active"), ("\n", 5, "active")]
)
def test_a_destructive_command_asks(program: Program, answer: str, code: int, status: str) -> None:
    key_id = program.generate("m").key_id
    terminal = Terminal(program, "revoke", key_id, "--reason", "test")
    terminal.wait_for(f"Revoke key {key_id} permanently? [y/N] ")
    terminal.type(answer)

    assert terminal.end() == code
    assert ("hint: answer y to confirm, or use --yes" in terminal.said) == (code == 5)
    assert program.json("show", key_id)["result"]["keys"][0]["status"] == status


def test_without_a_terminal_nothing_is_asked(program: Program) -> None:
    key_id = program.generate("m").key_id

    done = program.run("revoke", key_id, "--reason", "test", stdin="y\n")

    assert done.returncode == 5
    assert "hint: use --yes, or run the command on a terminal" in done.stderr
    assert program.json("show", key_id)["result"]["keys"][0]["status"] == "active"


def test_yes_answers(program: Program) -> None:
    key_id = program.generate("m").key_id

    assert program.run("revoke", key_id, "--reason", "test", "-y").returncode == 0


def test_a_model_name_may_be_revoked_on_a_terminal_which_shows_the_key(program: Program) -> None:
    key_id = program.generate("m").key_id
    terminal = Terminal(program, "revoke", "m", "--reason", "test")
    terminal.wait_for(f"Revoke key {key_id} permanently? [y/N] ")
    terminal.type("y\n")

    assert terminal.end() == 0


def test_tables_have_lines_and_colour_on_a_terminal(seeded: Program) -> None:
    terminal = Terminal(seeded, "list")

    assert terminal.end() == 0
    assert "─" in terminal.said
    assert "\x1b[32mactive\x1b[0m" in terminal.said


@pytest.mark.parametrize(("words", "env"), [(["--no-color"], {}), ([], {"NO_COLOR": "1"})])
def test_no_colour_when_none_is_wanted(seeded: Program, words: list[str], env: dict[str, str]) -> None:
    terminal = Terminal(seeded, "list", *words, env=env)

    assert terminal.end() == 0
    assert not re.search("\x1b\\[[0-9;]*3[0-9]m", terminal.said)


def test_a_dumb_terminal_gets_plain_text(seeded: Program) -> None:
    terminal = Terminal(seeded, "list", env={"TERM": "dumb"})

    assert terminal.end() == 0
    assert "─" not in terminal.said
    assert "\x1b" not in terminal.said


def test_the_chain_is_a_tree_on_a_terminal(program: Program) -> None:
    program.generate("m")
    program.ok("rotate", "m")
    terminal = Terminal(program, "show", "m", "--no-color")

    assert terminal.end() == 0
    assert "└── 2 m_" in terminal.said


def test_a_pipe_gets_neither_lines_nor_colour(seeded: Program) -> None:
    done = seeded.run("list", env={"FORCE_COLOR": "1"})

    assert done.stdout.isascii()
    assert "\x1b" not in done.stdout


def test_markup_in_a_label_is_text(program: Program) -> None:
    program.generate("m", labels={"note": "[red]x[/red]:smile:"})
    terminal = Terminal(program, "list", "--no-color")

    assert terminal.end() == 0
    assert "note=[red]x[/red]:smile:" in terminal.said


def test_a_file_name_cannot_move_the_cursor(program: Program, tmp_path: Path) -> None:
    terminal = Terminal(program, "generate", "m", "--license-file", str(tmp_path / "no\x1b[2Jsuch"))

    assert terminal.end() == 3
    assert "\x1b[2J" not in terminal.said
    assert "no\\x1b[2Jsuch" in terminal.said


def test_an_encryption_shows_how_much_there_is(program: Program) -> None:
    program.generate("m", no_license=True)
    with open(program.folder / "model", "wb") as model:
        model.truncate(200 * 2**20)
    terminal = Terminal(program, "encrypt-model", "model", "--key", "m", "--no-color")

    assert terminal.end() == 0
    assert "Encrypting model" in terminal.said
    assert "/209.7 MB" in terminal.said


def test_a_slow_encryption_shows_its_progress_and_speed(program: Program) -> None:
    """From a pipe that is filled over a second: a file may be done before there is a second report."""
    program.generate("m", no_license=True)
    os.mkfifo(program.folder / "pipe")

    def fill() -> None:
        with open(program.folder / "pipe", "wb", buffering=0) as pipe:
            for _ in range(10):
                pipe.write(bytes(2**20))
                time.sleep(0.1)

    threading.Thread(target=fill, daemon=True).start()
    terminal = Terminal(program, "encrypt-model", "pipe", "-o", "model.ttm", "--key", "m", "--no-color")

    assert terminal.end() == 0
    assert "Encrypting pipe" in terminal.said
    assert "MB/s" in terminal.said


def test_quiet_shows_no_progress(program: Program) -> None:
    program.generate("m", no_license=True)
    (program.folder / "model").write_bytes(b"weights")
    terminal = Terminal(program, "encrypt-model", "model", "--key", "m", "-q")

    assert terminal.end() == 0
    assert terminal.said == f"{program.folder / 'model.ttm'}\r\n"


def test_a_container_is_not_written_to_a_terminal(program: Program) -> None:
    program.generate("m", no_license=True)
    (program.folder / "model").write_bytes(b"weights")
    terminal = Terminal(program, "encrypt-model", "model", "-o", "-", "--key", "m")

    assert terminal.end() == 5
    assert "error: a model cannot be written to a terminal" in terminal.said


def test_follow_goes_on_until_it_is_interrupted(program: Program) -> None:
    program.generate("m", no_license=True)
    terminal = Terminal(program, "audit", "--follow", "--last", "1", "--no-color")
    terminal.wait_for("generate")
    program.ok("rotate", "m")
    terminal.wait_for("rotate")
    terminal.type("\x03")

    assert terminal.end() == 130
    assert "error: interrupted" in terminal.said
