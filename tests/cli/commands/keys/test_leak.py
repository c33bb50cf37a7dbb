"""A leak at night: `revoke` says what comes next, and every refusal's hint leads to a model that opens."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable

import pytest

from tests.program import LICENSE, Program
from tiktrue_keys.core.instants import DAY
from tiktrue_keys.core.manager import KeyManager
from tiktrue_keys.models.file.encrypt import encrypt_model

COMMAND = re.compile(r"tiktrue-keys ([a-z][^;,]*?)(?= for |, which|; |, or | to see|$)")


class Night:
    """A model in containers, and the keystore in one of the states that a leak may meet."""

    def __init__(self, program: Program, *, containers: int = 1) -> None:
        self.program = program
        self.plain = program.folder / "w.bin"
        self.plain.write_bytes(b"weights")
        self.containers = [program.folder / f"w{number}.ttm" for number in range(containers)]
        with program.manager() as manager:
            manager.generate("m", license_key=LICENSE)
            for path in self.containers:
                encrypt_model(manager, self.plain, path, key="m", license_key=LICENSE)

    def ids(self) -> list[str]:
        with self.program.manager() as manager:
            return [key.key_id for key in manager.chain("m")]

    def walk(self, goal: str) -> list[str]:
        """Run the goal until it succeeds, and what each refusal's hint says in between. Returns the commands."""
        pending, ran, met = [goal], list[str](), set[str]()
        while pending:
            assert len(ran) < 10, ran
            command = pending[-1]
            done = self.program.run(*shlex.split(command), "--yes")
            ran.append(command)
            if done.returncode == 0:
                pending.pop()
                continue
            refusal = done.stderr.splitlines()[-2]
            assert refusal not in met, f"{ran}: {done.stderr}"
            met.add(refusal)
            found = COMMAND.search(done.stderr[done.stderr.rindex("hint: ") :].strip())
            assert found, done.stderr
            pending.append(found[1].replace("CONTAINER", str(self.containers[0])))
        return ran


def prepublish(manager: KeyManager) -> None:
    manager.rotate(["m"], license_key=LICENSE, prepublish=2 * DAY)


def nothing(manager: KeyManager) -> None:
    pass


def rotated(manager: KeyManager) -> None:
    manager.rotate(["m"], license_key=LICENSE)


@pytest.mark.parametrize("leaked", ["first", "last", "all"])
@pytest.mark.parametrize("before", [nothing, prepublish, rotated], ids=lambda state: state.__name__)
def test_every_hint_leads_home(program: Program, before: Callable[[KeyManager], None], leaked: str) -> None:
    night = Night(program)
    with program.manager() as manager:
        before(manager)
        keys = [key.key_id for key in manager.chain("m")]
        manager.revoke({"first": keys[:1], "last": keys[-1:], "all": keys}[leaked], reason="leak")

    night.walk(f"encrypt-model {night.plain} -o {program.folder / 'new.ttm'} --key m")
    night.walk(f"decrypt-model {night.containers[0]} -o {program.folder / 'out.bin'}")

    assert (program.folder / "out.bin").read_bytes() == b"weights"


def test_the_next_commands_run_as_they_are_printed(program: Program) -> None:
    night = Night(program, containers=3)
    (leaked,) = night.ids()
    planned = program.json("revoke", leaked, "--reason", "leak", "--dry-run")["result"]["next"]
    done = program.run("revoke", leaked, "--reason", "leak", "--yes")
    steps = re.findall(r"^[0-9]\. (tiktrue-keys .*?)  \(", done.stderr, re.MULTILINE)

    assert steps == [each["command"] for each in planned]
    assert steps == [
        "tiktrue-keys rotate m",
        f"tiktrue-keys reencrypt-model --from {leaked} --all --recover-revoked",
        "tiktrue-keys status",
    ]
    for step in steps[:-1]:
        program.ok(*shlex.split(step)[1:])
    for path in night.containers:
        program.ok("decrypt-model", str(path), "-o", str(path.with_suffix(".bin")))
    assert "needs-reencryption" not in program.run("status", "--json").stdout


def test_with_a_successor_nothing_is_to_be_rotated(program: Program) -> None:
    night = Night(program, containers=0)

    done = program.json("revoke", *night.ids(), "--reason", "leak", "--rotate", "--yes")

    assert [each["command"] for each in done["result"]["next"]] == ["tiktrue-keys status"]


class TestReencryptAll:
    def test_one_that_is_away_does_not_hold_up_the_others(self, program: Program) -> None:
        night = Night(program, containers=3)
        (leaked,) = night.ids()
        program.ok("rotate", "m", "--no-rewrap")
        night.containers[1].unlink()

        done = program.json("reencrypt-model", "--from", leaked, "--all", code=7)

        assert [each["outcome"] for each in done["result"]["containers"]] == ["reencrypted", "failed", "reencrypted"]
        assert done["error"]["code"] == "partial"
        with program.manager() as manager:
            assert [record.path for record in manager.containers(leaked)] == [str(night.containers[1])]

    def test_a_folder_is_done_once_and_whole(self, program: Program) -> None:
        program.generate("m")
        source = program.folder / "model"
        source.mkdir()
        for name in ("a", "b"):
            (source / name).write_bytes(b"weights")
        program.ok("encrypt-model", str(source), "-o", "model.ttm", "--key", "m")
        program.ok("rotate", "m", "--no-rewrap")

        done = program.json("reencrypt-model", "--from", one_key(program), "--all")

        assert {each["outcome"] for each in done["result"]["containers"]} == {"reencrypted"}
        program.ok("verify-model", "model.ttm")

    @pytest.mark.parametrize("words", [["--all"], ["--from", "m"], ["w.ttm", "--from", "m", "--all"], []])
    def test_usage(self, program: Program, words: list[str]) -> None:
        assert program.run("reencrypt-model", *words).returncode == 2


def one_key(program: Program) -> str:
    """The first generation of the model."""
    with program.manager() as manager:
        return str(manager.chain("m")[0].key_id)
