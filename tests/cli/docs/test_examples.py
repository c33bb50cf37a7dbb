"""The examples at the end of each command's help and page run as they are written, in the order of a story.

Paths of a real machine stand for folders of the test, ids for those that come up: see World. What has to be there
before a command is set up by shell lines of the story.
"""

from __future__ import annotations

import json
import re
import shlex
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from string import Template

import pytest

from tests.program import TIMEOUT_SECONDS, Program
from tiktrue_keys.cli.docs.reference import Description, descriptions
from tiktrue_keys.core.approvals.ssh_signatures import SSH_KEYGEN

COMMANDS = {each.name: each for each in descriptions()}
LONGEST = 80
SHELL = re.compile(r"[|&;<>()*?~`#\[\]\\\n]")
"""What a shell reads in its own way, beside quotes and variables."""

NEED_A_DEVICE = {"binding add", "binding remove"}
"""test_binding.py runs them beside a device."""

KEY_ID, FILE_ID, OTHER_FILE_ID = "llama-7b_0123456789abcdef", "0123456789abcdef" * 2, "89abcdef01234567" * 2
NODE_ID = "abcdefghijklmnopqrstuvwxyz234567"


@dataclass
class World:
    """A folder with two keystores, head-office (where commands run unless told otherwise) and gpu-1."""

    office: Program
    node: Program
    variables: dict[str, str] = field(default_factory=dict)

    def shell(self, line: str, *, on_node: bool = False) -> subprocess.CompletedProcess[str]:
        program, real = self.node if on_node else self.office, self._real(line)
        words = program_words(real, self.variables)
        if words is not None:
            return program.run(*words, env=self.variables)
        return subprocess.run(
            ["sh", "-ec", real],
            cwd=program.folder,
            env={**program.environment, **self.variables},
            capture_output=True,
            text=True,
            stdin=subprocess.DEVNULL,
            timeout=TIMEOUT_SECONDS,
            check=False,
        )

    def _real(self, line: str) -> str:
        """The line with what is there in the place of what it names."""
        root = self.office.folder
        names = {
            place: str(root / place.strip("/").replace("/", "-"))
            for place in ("/mnt/backup", "/mnt/spool", "/mnt/witness", "/srv/models", "/srv/keys")
        }
        names |= {"/var/lib/node_exporter": str(root), "/etc/bash_completion.d": str(root)}
        if KEY_ID in line:
            names[KEY_ID] = self.office.ok("list", "llama-7b", "--status", "active", "-q").strip()
        if FILE_ID in line or OTHER_FILE_ID in line:
            ids = self.office.ok("models", "list", "-q").split()
            names |= {FILE_ID: ids[0], OTHER_FILE_ID: ids[-1]}
        if NODE_ID in line:
            names[NODE_ID] = self.node.json("fleet", "card")["result"]["node_id"]
        for name, real in names.items():
            line = line.replace(name, real)
        return line


def program_words(line: str, variables: Mapping[str, str]) -> list[str] | None:
    """The words of a line that runs the program and needs no shell; None for any other."""
    words = shlex.split(Template(line).safe_substitute(variables))
    return words[1:] if words[0] == "tiktrue-keys" and not SHELL.search(line) else None


@pytest.fixture
def world(tmp_path: Path) -> World:
    for name in ("mnt-backup", "mnt-spool", "mnt-witness", "srv-models", "node", ".config/fish/completions"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "llama.gguf").write_bytes(b"weights")
    (tmp_path / "llama-7b").mkdir()
    (tmp_path / "llama-7b" / "a.bin").write_bytes(b"weights")
    (tmp_path / "llama-server").write_text('#!/bin/sh\nfor word; do [ -r "$word" ] && cat "$word"; done; true\n')
    (tmp_path / "llama-server").chmod(0o755)
    office, node = Program(tmp_path), Program(tmp_path / "node")
    office.variables["PATH"] = f"{tmp_path}:{office.environment['PATH']}"
    return World(office, node)


RESTORED = """
        % tiktrue-keys restore early.db --yes
        % tiktrue-keys fleet send llama-7b --to gpu-1 --via spool:/mnt/spool
        %node tiktrue-keys fleet receive --via spool:/mnt/spool || [ $? = 5 ]
        %HEAD
        """

# A story is a list of commands, whose examples run one after the other, and of shell lines, which begin with "%". What
# is marked with "node" runs there. A digit picks one of the two examples; "=7" is the exit code that they end with.
STORIES = {
    "keys": """
        generate
        list
        show
        rotate
        validate
        revoke
        cleanup
        """,
    "models": """
        % tiktrue-keys generate llama-7b --no-license
        encrypt-model
        verify-model
        inspect-model
        decrypt-model
        % tiktrue-keys encrypt-model llama.gguf --key llama-7b -o big.ttm
        % tiktrue-keys encrypt-model llama.gguf --key llama-7b -o draft.ttm
        exec-model
        rewrap-model
        % cp big.ttm srv-models/ && mv big.ttm moved.ttm
        models scan
        models archive
        models list
        models release
        export-public
        % tiktrue-keys encrypt-model llama.gguf --recipient model.pub -o ci.ttm
        % tiktrue-keys encrypt-model llama.gguf --recipient model.pub -o late.ttm
        %ROOT ci.ttm
        sign-model 1
        %ROOT late.ttm
        sign-model 2
        reencrypt-model 1
        % tiktrue-keys revoke --model llama-7b --reason test --yes
        % tiktrue-keys generate llama-7b --no-license
        reencrypt-model 2
        models forget
        """,
    "watch": """
        % tiktrue-keys generate llama-7b --no-license
        status 1
        status 2=5
        doctor
        metrics
        audit show
        audit checkpoint
        % tiktrue-keys audit checkpoint > /mnt/witness/checkpoint
        audit verify
        audit export
        audit prove
        % tiktrue-keys audit prove 1 > proof.txt
        audit check-proof 1=2
        audit check-proof 2=2
        """,
    "keystore": """
        % tiktrue-keys generate llama-7b
        binding show
        rebind
        backup
        restore
        % printf %s "$TIKTRUE_LICENSE_KEY" > old; printf another > new; chmod 600 old new
        relicense
        escrow create 1
        escrow show
        % n=0; for share in shares/*; do n=$((n + 1)); cp "$share" $n.txt; done
        escrow verify
        % tiktrue-keys backup old.db
        escrow recover
        escrow create 2
        binding list
        binding test
        rekey
        """,
    "approval": """
        % tiktrue-keys generate llama-7b --no-license
        % tiktrue-keys revoke --model llama-7b --reason test --yes
        % tiktrue-keys cleanup --after 0s --yes
        % ssh-keygen -q -t ed25519 -N "" -f ada
        approvals policy
        % tiktrue-keys cleanup --yes || [ $? = 5 ]
        approvals list
        approvals export
        % ssh-keygen -q -Y sign -n tiktrue-keys -f ada plan.txt
        approvals add
        % tiktrue-keys cleanup --yes --approval 1
        """,
    "fleet": """
        % tiktrue-keys generate llama-7b --no-license
        fleet init 1
        node: fleet init 2
        fleet card
        %node tiktrue-keys fleet card -o ../gpu-1.card
        % tiktrue-keys --keystore other fleet init gpu-2 --role node
        % tiktrue-keys --keystore other fleet card -o gpu-2.card
        %NODE_ID
        % tiktrue-keys fleet add gpu-2.card --name rack-2 --expect "$NODE_ID"
        fleet add 1
        %node cp ../head-office.card .
        %OFFICE_ID
        node: fleet add 2
        fleet send
        node: fleet receive
        fleet sync 1 =7
        % tiktrue-keys fleet remove rack-2 --yes
        fleet sync 2
        fleet list
        fleet show
        fleet status
        %NODE_ID
        % tiktrue-keys fleet add gpu-2.card --expect "$NODE_ID"
        fleet remove
        """,
    "restored": f"""
        % tiktrue-keys generate llama-7b --no-license
        % tiktrue-keys fleet init head-office
        % tiktrue-keys fleet card -o head-office.card
        %node tiktrue-keys fleet init gpu-1 --role node
        %node tiktrue-keys fleet card -o ../gpu-1.card
        % tiktrue-keys fleet add gpu-1.card --expect {NODE_ID}
        %OFFICE_ID
        %node tiktrue-keys fleet add ../head-office.card --role issuer --expect "$NODE_ID"
        % tiktrue-keys backup early.db
        % tiktrue-keys fleet send llama-7b --to gpu-1 --via spool:/mnt/spool
        %node tiktrue-keys fleet receive --via spool:/mnt/spool
        {RESTORED}
        node: fleet accept-epoch 1
        {RESTORED}
        node: fleet accept-epoch 2
        """,
    "settings": """
        config show
        completion
        """,
}


def steps(story: str) -> Iterator[str]:
    yield from (line.strip() for line in STORIES[story].splitlines() if line.strip())


@pytest.mark.parametrize("story", STORIES)
def test_the_examples_run(world: World, story: str) -> None:
    if story == "approval" and not SSH_KEYGEN.exists():
        pytest.skip(f"{SSH_KEYGEN} is missing")
    for step in steps(story):
        if step.startswith("%"):
            prepare(world, step)
        else:
            run_examples(world, step)


def prepare(world: World, step: str) -> None:
    """A shell line, or one of the values that an example takes from elsewhere."""
    word, _, rest = step.partition(" ")
    if word == "%ROOT":
        world.variables["ROOT"] = world.office.json("inspect-model", rest)["result"]["root"]
    elif word == "%HEAD":
        status = world.shell("tiktrue-keys fleet status --json")
        world.variables["HEAD"] = json.loads(status.stdout)["result"]["epoch"]["head"]
    elif word == "%NODE_ID":
        card = world.office.json("fleet", "card", "--keystore", "other")
        world.variables["NODE_ID"] = card["result"]["node_id"]
    elif word == "%OFFICE_ID":
        world.variables["NODE_ID"] = world.office.json("fleet", "card")["result"]["node_id"]
    else:
        done = world.shell(rest, on_node=word == "%node")
        assert done.returncode == 0, f"{step}\n{done.stderr}"


def run_examples(world: World, step: str) -> None:
    words, _, code = step.partition("=")
    name = words.removeprefix("node: ").strip()
    number = name[-1] if name[-1].isdigit() else ""
    examples = COMMANDS[name.removesuffix(number).strip()].examples
    for _, line in examples if not number else [examples[int(number) - 1]]:
        done = world.shell(line, on_node=words.startswith("node: "))
        assert done.returncode == int(code or 0), f"{line}: {done.returncode}\n{done.stdout}{done.stderr}"


def test_every_example_is_in_a_story() -> None:
    told = [step.removeprefix("node: ").partition("=")[0].strip() for story in STORIES for step in steps(story)]
    both = {name for name in told if not name.startswith("%") and not name[-1].isdigit()}
    single = [name[:-2] for name in told if name[-1].isdigit() and not name.startswith("%")]
    told_of = both | {name for name in single if single.count(name) == 2}

    assert told_of == {name for name, each in COMMANDS.items() if name and not each.children} - NEED_A_DEVICE


@pytest.mark.parametrize("command", COMMANDS.values(), ids=COMMANDS)
def test_a_command_has_two_examples_that_fit_on_a_line(command: Description) -> None:
    assert len(command.examples) == 2
    for purpose, line in command.examples:
        assert purpose[0].isupper()
        assert purpose.endswith(":")
        assert max(len(purpose), len(line)) <= LONGEST, line
        assert f"tiktrue-keys {command.name}".rstrip() in line


def test_the_help_ends_with_them(program: Program) -> None:
    for name in ("", "generate", "fleet", "fleet add"):
        lines = program.ok(*name.split(), "--help").splitlines()
        wanted = [each for purpose, line in COMMANDS[name].examples for each in (f"  {purpose}", f"    {line}")]
        assert lines[-5:] == ["Examples:", *wanted]
