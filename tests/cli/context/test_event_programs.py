"""Programs that are told of events: what they get, and that nothing that they do holds up or harms a command."""

from __future__ import annotations

import json
import os
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.keystores import Desk
from tests.program import Program
from tiktrue_keys.cli.context.event_programs import tell_programs
from tiktrue_keys.core.keystore.cursors import Cursor, held_cursors, read_cursors
from tiktrue_keys.core.manager import KeyManager

SHORT = 0.6  # seconds: longer than /bin/sh takes, shorter than a hook that hangs


class Hooks:
    """A folder of hooks that only this user can write, and what they have got."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def hook(self, text: str = 'cat > "$0.got.$$"', name: str = "hook") -> tuple[str, ...]:
        path = self.folder / name
        path.write_text(f"#!/bin/sh\n{text}\n")
        path.chmod(0o700)
        return (str(path),)

    def got(self, name: str = "hook") -> list[list[dict[str, Any]]]:
        paths = sorted(self.folder.glob(f"{name}.got.*"), key=lambda path: path.stat().st_mtime_ns)
        return [json.loads(path.read_text()) for path in paths]

    def types(self) -> list[list[str]]:
        return [[event["type"].removeprefix("tiktrue-keys.") for event in each] for each in self.got()]


@pytest.fixture
def hooks(tmp_path: Path) -> Hooks:
    folder = tmp_path / "hooks"
    folder.mkdir(mode=0o700)
    return Hooks(folder)


@pytest.fixture
def manager(desk: Desk) -> KeyManager:
    made = desk.manager()
    made.generate("a", no_license=True)
    made.generate("b", no_license=True)
    return made


def told(manager: KeyManager, *commands: tuple[str, ...], seconds: float = SHORT, most: int = 10_000) -> list[str]:
    failed = tell_programs(manager, commands, seconds=seconds, most=most)
    return [line.partition(": ")[2] for line in failed]


def test_each_program_gets_each_event_once_as_one_array(manager: KeyManager, hooks: Hooks) -> None:
    commands = (hooks.hook(), (*hooks.hook(name="other"), "an argument"))
    assert told(manager, *commands) == []
    assert hooks.got() == []  # generating is not an event
    manager.rotate(["a", "b"])
    assert told(manager, *commands) == []
    manager.revoke([manager.find("b").key_id], reason="a reason")
    assert told(manager, *commands) == []
    assert told(manager, *commands) == []
    assert hooks.types() == [["rotated", "rotated"], ["revoked"]]
    assert [len(each) for each in hooks.got("other")] == [2, 1]
    (revoked,) = hooks.got()[1]
    assert (revoked["specversion"], revoked["data"]["reason"]) == ("1.0", "a reason")


def test_a_reader_and_a_rehearsal_run_nothing(desk: Desk, manager: KeyManager, hooks: Hooks) -> None:
    manager.rotate(["a"])
    assert told(desk.manager(), hooks.hook()) == []
    with manager.session.write("mark") as transaction:  # type: ignore[arg-type]
        transaction.replace_document(replace(transaction.document, rehearsal=True))
        transaction.record("restore")
    assert told(manager, hooks.hook()) == []
    assert hooks.got() == []


def test_a_cursor_beyond_the_log_loses_no_event(desk: Desk, manager: KeyManager, hooks: Hooks) -> None:
    manager.rotate(["a"])
    command = hooks.hook()
    with held_cursors(desk.folder) as cursors:
        assert cursors is not None
        cursors.put(f"exec {json.dumps(command)}", Cursor(999, 999_999_999))
    (found,) = (each for each in manager.status().findings if each.id == "receiver-failing")
    assert "is beyond the audit log" in found.message
    assert told(manager, command) == []
    assert hooks.types() == [["rotated"]]
    assert [each for each in manager.status().findings if each.id == "receiver-failing"] == []


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("exit 3", "it ended with exit status 3"),
        ("kill -9 $$", "it ended with signal 9"),
        ("sleep 60", "it did not end in 10 seconds, and was killed"),
        ("trap '' TERM INT HUP; while :; do sleep 60; done", "it did not end in 10 seconds, and was killed"),
    ],
)
def test_a_program_that_fails_is_told_again(manager: KeyManager, hooks: Hooks, text: str, reason: str) -> None:
    bad, good = hooks.hook(text), hooks.hook(name="good")
    manager.rotate(["a"])
    start = time.monotonic()
    assert told(manager, good, bad) == [reason]
    assert time.monotonic() - start < 5
    (found,) = (each for each in manager.status().findings if each.id == "receiver-failing")
    assert reason in found.message
    manager.rotate(["b"])
    hooks.hook()
    assert told(manager, good, bad) == []
    assert hooks.types() == [["rotated", "rotated"]]
    assert [len(each) for each in hooks.got("good")] == [1, 1]
    assert [each for each in manager.status().findings if each.id == "receiver-failing"] == []


def test_a_child_that_stays_and_garbage_hold_nothing_up(manager: KeyManager, hooks: Hooks) -> None:
    stays = hooks.hook("sleep 2 & echo $! > $0.pid; exit 0", name="stays")
    garbage = hooks.hook("head -c 300000 /dev/urandom; head -c 300000 /dev/urandom >&2", name="garbage")
    unread = hooks.hook("exec <&-; exit 0", name="unread")
    manager.rotate(["a"])
    with manager.session.write("many") as transaction:  # type: ignore[arg-type]
        for _ in range(400):  # more than a pipe holds
            transaction.record("rotate", detail={"reason": "x" * 200})
    assert told(manager, stays, garbage, unread, seconds=10) == []
    os.kill(int((hooks.folder / "stays.pid").read_text()), 9)


def test_the_time_is_for_all_of_them_together(manager: KeyManager, hooks: Hooks) -> None:
    manager.rotate(["a"])
    first, second = hooks.hook("sleep 60", name="first"), hooks.hook(name="second")
    assert told(manager, first, second, seconds=0.2)[1] == "no time was left for it after the other programs"


def test_a_program_that_others_can_write_is_not_run(manager: KeyManager, hooks: Hooks) -> None:
    manager.rotate(["a"])
    command = hooks.hook()
    path = Path(command[0])
    path.chmod(0o720)
    assert told(manager, command) == [f"not run, because {path} can be written by others: chmod go-w '{path}'"]
    path.chmod(0o700)
    hooks.folder.chmod(0o777)
    assert told(manager, command) == [
        f"not run, because {hooks.folder} can be written by others: chmod go-w '{hooks.folder}'"
    ]
    hooks.folder.chmod(0o700)
    link = hooks.folder / "link"
    link.symlink_to("/tmp/of-another-user")
    assert told(manager, (str(link),))[0].startswith("it is not there")
    assert told(manager, (str(hooks.folder),)) == ["it is not a file"]
    path.chmod(0o600)
    assert told(manager, command) == ["it cannot be run: Permission denied"]
    path.chmod(0o700)
    if os.geteuid() == 0:
        os.chown(path, 65534, 65534)
        assert told(manager, command) == [
            f"not run, because {path} belongs to another user (uid 65534): chown -h root '{path}'"
        ]
        evil = hooks.folder / "evil"
        evil.mkdir()
        (evil / "middle").symlink_to("/bin/true")
        first = hooks.folder / "first"
        first.symlink_to(evil / "middle")
        os.chown(evil, 65534, -1)
        assert told(manager, (str(first),)) == [
            f"not run, because {evil} belongs to another user (uid 65534): chown -h root '{evil}'"
        ]
        os.chown(path, 0, 0)
    assert hooks.got() == []
    assert told(manager, command) == []
    assert hooks.types() == [["rotated"]]


def test_what_was_too_much_or_too_old_becomes_one(desk: Desk, manager: KeyManager, hooks: Hooks) -> None:
    manager.rotate(["a"])
    command = hooks.hook("exit 1")
    assert told(manager, command) == ["it ended with exit status 1"]
    desk.clock.forward(days=8)
    with manager.session.write("many") as transaction:  # type: ignore[arg-type]
        for _ in range(5):
            transaction.record("revoke", key_id="a_0123456789abcdef")
    hooks.hook()
    assert told(manager, command, most=3) == []
    assert hooks.types() == [["merged", "revoked", "revoked", "revoked"]]
    assert hooks.got()[0][0]["data"] == {"count": 3}
    assert [each.id for each in manager.status().findings if each.id == "events-merged"] == ["events-merged"]
    manager.rotate(["b"])
    assert told(manager, command) == []
    assert all(each.lost == 0 for each in read_cursors(desk.folder).values())


def test_the_program_runs_hooks_after_its_output_in_a_clean_environment(program: Program, hooks: Hooks) -> None:
    program.generate("llama", labels={"a": "b"})
    (command,) = hooks.hook('cat > "$0.got.$$"; env > "$0.env"; pwd >> "$0.env"')
    settings = program.folder / ".config/tiktrue-keys/tiktrue-keys.toml"
    settings.parent.mkdir(parents=True)
    settings.write_text(f'[events]\nexec = [["{command}"]]\n')
    settings.chmod(0o600)
    done = program.run("rotate", "llama", env={"CREDENTIALS_DIRECTORY": "/nowhere", "TIKTRUE_OTHER": "x"})
    assert (done.returncode, "warning: events" in done.stderr) == (0, False), done.stderr
    assert hooks.types() == [["rotated"]]
    seen = dict(line.split("=", 1) for line in Path(f"{command}.env").read_text().splitlines() if "=" in line)
    assert set(seen) <= {"PATH", "LANG", "PWD", "OLDPWD", "SHLVL", "_"}
    assert "/" in Path(f"{command}.env").read_text().splitlines()
    hooks.hook("exit 1")
    done = program.run("revoke", "--model", "llama", "--reason", "r", "--yes")
    assert done.returncode == 0
    assert f"warning: events were not told: {command}: it ended with exit status 1" in done.stderr
    hooks.hook()
    assert program.run("rotate", "--due", "--json").returncode == 0  # time's findings are raised, and all is told
    assert "revoked" in hooks.types()[-1]
    assert "backup-stale" not in hooks.types()[-1] or len(hooks.got()) == 2
