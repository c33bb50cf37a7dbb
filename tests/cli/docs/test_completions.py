"""The completion scripts in the real shells: what a TAB would offer."""

from __future__ import annotations

import os
import pty
import re
import select
import shutil
import subprocess
import time
from pathlib import Path

import pytest

from tests.program import Program
from tests.waiting import PATIENCE
from tiktrue_keys.cli.docs.shells import SCRIPTS, script_for
from tiktrue_keys.cli.program.catalog import CATALOG

BASH = pytest.mark.skipif(not shutil.which("bash"), reason="bash is not installed")
ZSH = pytest.mark.skipif(not shutil.which("zsh"), reason="zsh is not installed")
FISH = pytest.mark.skipif(not shutil.which("fish"), reason="fish is not installed")


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with files to complete, the scripts, and a `tiktrue-keys` that answers `list -q` without Python."""
    folder = tmp_path_factory.mktemp("place")
    for shell, (name, _) in SCRIPTS.items():
        (folder / name).write_text(script_for(shell), "utf-8")
    (folder / "work" / "models").mkdir(parents=True)
    (folder / "work" / "model.bin").touch()
    (folder / "bin").mkdir()
    fake = folder / "bin" / "tiktrue-keys"
    fake.write_text(
        "#!/bin/sh\ncase $* in\n"
        "'list -q') printf 'llama_0123456789abcdef\\nmistral_fedcba9876543210\\nllama_1123456789abcdef\\n' ;;\n"
        "'models list -q') printf '000102030405060708090a0b0c0d0e0f\\n' ;;\n"
        "'fleet list --format csv --column name') printf 'name\\ngpu-1\\n' ;;\n"
        "esac\n"
    )
    fake.chmod(0o755)
    return folder


def environment(place: Path) -> dict[str, str]:
    return {"PATH": f"{place / 'bin'}:{os.environ['PATH']}", "HOME": str(place), "LANG": "C.UTF-8", "TERM": "xterm"}


def bash(place: Path, *words: str) -> list[str]:
    """COMPREPLY for the words; the last one is what the cursor is at the end of."""
    script = (
        f"source {place / 'tiktrue-keys.bash'}\n"
        'COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1))\n'
        '_tiktrue_keys; printf "%s\\n" "${COMPREPLY[@]}"\n'
    )
    done = subprocess.run(
        ["bash", "--norc", "-uc", script, "bash", "tiktrue-keys", *words],
        capture_output=True,
        text=True,
        cwd=place / "work",
        env=environment(place),
        check=True,
    )
    assert done.stderr == ""
    return done.stdout.split()


@BASH
def test_bash_offers_the_commands(place: Path) -> None:
    assert set(bash(place, "")) == set(CATALOG)
    assert bash(place, "dec") == ["decrypt-model"]
    assert bash(place, "--json", "--keystore", "audit", "rot") == ["rotate"]


@BASH
def test_bash_offers_the_children_of_a_family(place: Path) -> None:
    assert set(bash(place, "audit", "")) == set(CATALOG["audit"].children)
    assert bash(place, "audit", "--json", "ver") == ["verify"]


@BASH
def test_bash_offers_options_values_keys_and_files(place: Path) -> None:
    assert bash(place, "rotate", "--ove") == ["--overlap"]
    assert bash(place, "list", "--sort", "ex") == ["expires"]
    assert bash(place, "list", "--status", "=", "re") == ["revoked"]
    keys = ["llama_0123456789abcdef", "mistral_fedcba9876543210", "llama_1123456789abcdef"]
    assert bash(place, "show", "") == keys
    assert bash(place, "revoke", "--reason", "x", "mi") == ["mistral_fedcba9876543210"]
    assert bash(place, "encrypt-model", "mo") == ["model.bin", "models"]
    assert bash(place, "list", "--keystore", "mo") == ["models"]
    assert bash(place, "generate", "--lifetime", "") == []
    assert bash(place, "completion", "z") == ["zsh"]


@BASH
def test_bash_offers_models_nodes_events_columns_and_file_ids(place: Path) -> None:
    assert bash(place, "list", "") == ["llama", "mistral"]
    assert bash(place, "audit", "export", "--model", "mi") == ["mistral"]
    assert bash(place, "fleet", "show", "") == ["gpu-1"]
    assert bash(place, "models", "forget", "") == ["000102030405060708090a0b0c0d0e0f"]
    assert bash(place, "audit", "show", "--event", "rot") == ["rotate"]
    assert bash(place, "audit", "export", "--outcome", "re") == ["refused"]
    assert bash(place, "audit", "show", "--column", "key") == ["key-or-model"]
    assert bash(place, "list", "--column", "dec") == ["decrypts-until"]
    assert bash(place, "audit", "checkpoint", "--to", "mo") == ["models"]
    assert bash(place, "audit", "check-proof", "mo") == ["model.bin", "models"]


def zsh_offers(place: Path, line: str, offer: str) -> bool:
    """Whether an interactive zsh on a pseudo-terminal shows `offer` after `line` and a TAB; waits for it."""
    terminal = Zsh(place)
    try:
        terminal.say(
            f"cd {place / 'work'}; fpath=({place} $fpath); autoload -U compinit; compinit -u -D; print re''ady\n"
        )
        terminal.wait_for("ready\n")
        terminal.said = ""
        terminal.say(f"{line}\t")
        terminal.wait_for(offer)
        return True
    finally:
        terminal.close()


class Zsh:
    """A zsh without anybody's configuration."""

    def __init__(self, place: Path) -> None:
        self.master, slave = pty.openpty()
        self.said = ""
        variables = {**environment(place), "COLUMNS": "120", "LINES": "60", "PS1": "", "LISTMAX": "0"}
        self.process = subprocess.Popen(
            ["setsid", "--ctty", "--wait", "zsh", "-f", "-i"], stdin=slave, stdout=slave, stderr=slave, env=variables
        )
        os.close(slave)

    def say(self, text: str) -> None:
        os.write(self.master, text.encode())

    def wait_for(self, words: str) -> None:
        """Until that was said, colours and movements of the cursor left out."""
        deadline = time.monotonic() + PATIENCE
        while words not in re.sub("\x1b\\[[0-9;?]*[a-zA-Z]|\x1b[=>]|[\r\x07]", "", self.said):
            assert time.monotonic() < deadline, self.said
            self._read(0.2)

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        os.close(self.master)

    def _read(self, seconds: float) -> bool:
        if not select.select([self.master], [], [], seconds)[0]:
            return False
        self.said += os.read(self.master, 65_536).decode("utf-8", "replace")
        return True


@ZSH
def test_zsh_offers_commands_with_their_summaries(place: Path) -> None:
    assert zsh_offers(place, "tiktrue-keys de", "tiktrue-keys decrypt-model")


@ZSH
def test_zsh_offers_options_and_their_values(place: Path) -> None:
    assert zsh_offers(place, "tiktrue-keys list --sort ", "expires")
    assert zsh_offers(place, "tiktrue-keys rotate --over", "--overlap")
    assert zsh_offers(place, "tiktrue-keys audit ver", "verify")


@ZSH
def test_zsh_offers_keys_and_files(place: Path) -> None:
    assert zsh_offers(place, "tiktrue-keys show mi", "mistral_fedcba9876543210")
    assert zsh_offers(place, "tiktrue-keys encrypt-model model.", "model.bin")


def fish(place: Path, line: str) -> list[str]:
    """What fish would offer after `line`, without the descriptions."""
    script = f"source {place / 'tiktrue-keys.fish'}; complete -C '{line}'"
    done = subprocess.run(
        ["fish", "--no-config", "-c", script],
        capture_output=True,
        text=True,
        cwd=place / "work",
        env=environment(place),
        check=True,
    )
    assert done.stderr == ""
    return [offer.split("\t")[0] for offer in done.stdout.splitlines()]


@FISH
def test_fish_offers_the_commands(place: Path) -> None:
    assert set(fish(place, "tiktrue-keys ")) == set(CATALOG)
    assert fish(place, "tiktrue-keys --keystore audit --json rota") == ["rotate"]
    assert set(fish(place, "tiktrue-keys audit ")) == set(CATALOG["audit"].children)


@FISH
def test_fish_offers_options_values_keys_and_files(place: Path) -> None:
    assert fish(place, "tiktrue-keys rotate --ove") == ["--overlap"]
    assert fish(place, "tiktrue-keys list --sort ex") == ["expires"]
    assert fish(place, "tiktrue-keys show mi") == ["mistral_fedcba9876543210"]
    assert set(fish(place, "tiktrue-keys encrypt-model mo")) == {"model.bin", "models/"}
    assert fish(place, "tiktrue-keys list --keystore mo") == ["models/"]
    assert fish(place, "tiktrue-keys generate --lifetime ") == []


def test_the_command_prints_the_script(program: Program) -> None:
    for shell in SCRIPTS:
        assert program.ok("completion", shell) == script_for(shell)


def test_typers_own_way_works_too(program: Program) -> None:
    done = program.run(env={"_TIKTRUE_KEYS_COMPLETE": "source_bash"})

    assert (done.returncode, "complete" in done.stdout) == (0, True)
