"""The warm interpreter runs a program as a fresh one would, and leaves nothing behind for the next run."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.program import Program, unmeasured
from tests.warm import REPOSITORY, WarmInterpreter

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="programs are forked from a warm one on Linux only")
LARGE = bytes(range(256)) * 8_000  # more than a pipe holds


@pytest.fixture(scope="module")
def warm() -> Iterator[WarmInterpreter]:
    made = WarmInterpreter({**unmeasured(), "TIKTRUE_LICENSE_KEY": "the tests' own, for no run"})
    yield made
    made.close()


@pytest.fixture
def node(tmp_path: Path) -> Program:
    """A program with a key, and a model beside its keystore."""
    made = Program(tmp_path)
    made.generate("llama", no_license=True)
    (tmp_path / "model.bin").write_bytes(b"weights")
    return made


def both(warm: WarmInterpreter, program: Program, *words: str, **more: Any) -> tuple[Any, Any]:
    """What a warm and a fresh run end in: exit code, output, errors."""
    data, environment = more.get("data"), program.environment | more.get("env", {})
    ours = warm.run(words, data, folder=program.folder, environment=environment, timeout=60)
    assert ours is not None
    theirs = subprocess.run(
        program.argv(*words),
        input=data,
        stdin=subprocess.DEVNULL if data is None else None,
        capture_output=True,
        cwd=program.folder,
        env=environment,
        check=False,
    )
    return tuple((done.returncode, done.stdout, done.stderr) for done in (ours, theirs))  # type: ignore[return-value]


@pytest.mark.parametrize(
    "words",
    [
        ["--version"],
        ["list"],
        ["list", "--json"],
        ["show", "llama"],
        ["inspect-model", "nothing.ttm"],
        ["nonsense"],
        ["validate", "--no-such-option"],
        ["encrypt-model", "model.bin", "--key", "nothing"],
    ],
    ids=" ".join,
)
def test_it_ends_as_a_fresh_one_does(warm: WarmInterpreter, node: Program, words: list[str]) -> None:
    ours, theirs = both(warm, node, *words)

    assert ours == theirs


def test_standard_input_is_a_pipe_and_output_may_be_longer_than_one_holds(warm: WarmInterpreter, node: Program) -> None:
    sealed = warm.run(
        ["encrypt-model", "-", "-o", "-", "--key", "llama", "--name", "m.bin"],
        LARGE,
        folder=node.folder,
        environment=node.environment,
        timeout=60,
    )
    assert sealed is not None
    ours, theirs = both(warm, node, "decrypt-model", "-", "-o", "-", data=sealed.stdout)

    assert ours[:2] == theirs[:2] == (0, LARGE)


def test_input_that_is_not_read_stops_nothing(warm: WarmInterpreter, node: Program) -> None:
    ours, theirs = both(warm, node, "list", "-q", data=LARGE)

    assert ours == theirs


def test_environment_and_folder_are_those_of_the_run_alone(warm: WarmInterpreter, tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        Program(tmp_path / name).generate(name, no_license=True)
    first, second = Program(tmp_path / "one"), Program(tmp_path / "two")

    assert b"one_" in both(warm, first, "list")[0][1]
    ours, theirs = both(warm, second, "list")
    assert ours == theirs
    assert b"one_" not in ours[1]
    assert both(warm, first, "list", env={"TIKTRUE_KEYS_HOME": "two/keystore"})[0][0] != 0
    assert both(warm, first, "list")[0][0] == 0


def test_the_environment_of_the_tests_is_not_that_of_a_run(warm: WarmInterpreter, node: Program) -> None:
    ours, theirs = both(warm, node.without("TIKTRUE_LICENSE_KEY"), "generate", "licensed")

    assert ours == theirs
    assert ours[0] != 0


def test_a_run_that_takes_too_long_is_killed_and_the_next_one_goes(warm: WarmInterpreter, node: Program) -> None:
    with node.manager() as manager, pytest.raises(subprocess.TimeoutExpired), manager.session.write("held"):  # type: ignore[arg-type]
        warm.run(["generate", "other"], None, folder=node.folder, environment=node.environment, timeout=0.5)

    assert both(warm, node, "list", "-q")[0][0] == 0


def test_a_killed_run_has_the_signals_number_and_another_does_not_wait_for_it(
    warm: WarmInterpreter, node: Program
) -> None:
    before = set(_children(warm))
    ended: list[int] = []

    def wait() -> None:
        words = ["exec-model", "model.ttm", "--", "sleep", "60"]
        done = warm.run(words, None, folder=node.folder, environment=node.environment, timeout=60)
        ended.append(done.returncode if done is not None else 0)

    node.ok("encrypt-model", "model.bin", "-o", "model.ttm", "--key", "llama")
    thread = threading.Thread(target=wait)
    thread.start()
    while not (running := set(_children(warm)) - before):
        pass
    assert warm.run(["list"], None, folder=node.folder, environment=node.environment, timeout=60) is None
    os.kill(running.pop(), 9)
    thread.join()

    assert ended == [-9]
    assert both(warm, node, "list", "-q")[0][0] == 0


def test_no_descriptor_is_left_open(warm: WarmInterpreter, node: Program) -> None:
    both(warm, node, "list")
    before = [len(os.listdir(f"/proc/{process}/fd")) for process in (os.getpid(), warm.process_id)]
    for data in (None, b"x"):
        both(warm, node, "list", data=data)

    assert [len(os.listdir(f"/proc/{process}/fd")) for process in (os.getpid(), warm.process_id)] == before


def test_a_run_that_is_measured_leaves_its_own_data(node: Program, tmp_path: Path) -> None:
    asked = {"COVERAGE_PROCESS_START": str(REPOSITORY / "pyproject.toml"), "COVERAGE_FILE": str(tmp_path / "measured")}
    warm = WarmInterpreter({**unmeasured(), **asked})
    files = []
    for measured in (False, True, True):
        warm.run(["list"], None, folder=node.folder, environment=node.environment, timeout=60, measured=measured)
        files.append(len(list(tmp_path.glob("measured.*"))))
    warm.close()

    assert files == [1, 2, 3]  # the first is of the loading of the modules
    newest = max(tmp_path.glob("measured.*"), key=lambda path: path.stat().st_mtime_ns)
    assert b"list_keys.py" in newest.read_bytes()


def _children(warm: WarmInterpreter) -> list[int]:
    return [
        int(path.name) for path in Path("/proc").iterdir() if path.name.isdigit() and _parent(path) == warm.process_id
    ]


def _parent(path: Path) -> int:
    try:
        return int((path / "stat").read_text().rpartition(")")[2].split()[1])
    except OSError:
        return 0
