"""A scenario file: what is typed, what comes back, what is there afterwards. The first character of a line says which.

    # words about the scenario
    & llama --label team=research     a key that is there already, with its keystore; for scenarios not about `generate`
    % printf abc > model.bin          a shell command that sets something up (no output is expected)
    $ generate llama                  the program is run with these words
    < a line of standard input
    > a line of standard output
    ! a line of standard error
    = 0                               the exit code
    @ 0600 keystore/keystore.db       a file that is there at the end (of all of them, sorted)

What differs between runs or machines is written as a name in angle brackets: <folder>, <time>, <key 1>, <file 1>,
<node 1>, <tag 1>.
"""

from __future__ import annotations

import re
import shlex
import stat
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

from tests.program import Program
from tiktrue_keys import __version__
from tiktrue_keys.cli.context.actor import current_actor


@dataclass
class Step:
    """One run of the program ($), or a step that sets something up: a key (&), or whatever the shell does (%)."""

    words: str
    kind: str
    stdin: list[str] = field(default_factory=list)


def parse(text: str) -> tuple[list[str], list[Step]]:
    """The comment lines and the steps of a scenario; expectations are not parsed: the whole text is compared."""
    comments: list[str] = []
    steps: list[Step] = []
    for line in text.splitlines():
        kind, words = line[:1], line[2:]
        if kind == "#" and not steps:
            comments.append(line)
        elif kind in _RUNS and line:
            steps.append(Step(words, kind))
        elif kind == "<":
            steps[-1].stdin.append(words)
    return comments, steps


def play(text: str, program: Program) -> str:
    """Run a scenario's steps and return the text that it should have."""
    comments, steps = parse(text)
    names = Names(program)
    blocks = ["\n".join(comments)]
    blocks += ["\n".join(_RUNS[step.kind](step, program, names)) for step in steps]
    # Sorted by the names that stand in for random ones, whose own order differs from run to run.
    files = sorted((names.replace(line) for line in _files(program.folder)), key=lambda line: line[5:].split("/"))
    blocks.append("\n".join(f"@ {line}" for line in files))
    return "\n\n".join(block for block in blocks if block) + "\n"


def _generated(step: Step, program: Program, names: Names) -> Iterator[str]:
    model_id, *options = shlex.split(step.words)
    labels = [words.partition("=") for option, words in pairwise(options) if option == "--label"]
    key = program.generate(
        model_id, no_license="--no-license" in options, labels={name: value for name, _, value in labels}
    )
    names.replace(key.key_id)
    yield f"& {step.words}"


def _shell(step: Step, program: Program, names: Names) -> Iterator[str]:
    subprocess.run(["sh", "-ec", step.words], cwd=program.folder, env=program.environment, check=True)
    yield f"% {step.words}"


def _run(step: Step, program: Program, names: Names) -> Iterator[str]:
    words = shlex.split(names.restore(step.words))
    done = program.run(*words, stdin="".join(f"{line}\n" for line in step.stdin) if step.stdin else None)
    yield f"$ {step.words}"
    yield from (f"< {line}" for line in step.stdin)
    yield from (f"> {line}".rstrip() for line in names.replace(done.stdout).splitlines())
    yield from (f"! {line}".rstrip() for line in names.replace(done.stderr).splitlines())
    yield f"= {done.returncode}"


def _files(folder: Path) -> Iterator[str]:
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            yield f"{stat.S_IMODE(path.stat().st_mode):04o} {path.relative_to(folder)}"


def _actor() -> tuple[str, str]:
    actor = current_actor("", {})
    return actor.user, actor.host


class Names:
    """Names in the place of what no two runs have in common, numbered in the order in which they come up."""

    _KINDS = (
        ("key", r"(?<=_)[0-9a-f]{16}\b"),
        ("escrow", r'(?<=escrow )\d+\b|(?<=escrow-)\d+(?=-share)|(?<="escrow": )\d+|(?<=escrow:    )\d+'),
        ("digest", r"\b[0-9a-f]{64}\b"),
        ("file", r"\b[0-9a-f]{32}\b"),
        ("root", r"\b[0-9a-f]{16}(?=\.renewed\b)"),
        ("node", r"\b[a-z2-7]{32}\b"),
        ("operation", r"\b[0-9a-f]{24}\b"),
        ("base64", r"(?<![A-Za-z0-9+/])[A-Za-z0-9+/]{43,}={0,2}"),
    )
    # Where the tests run in a bare container, whose machine shows nothing of its own.
    _WEAK = re.compile(
        r"^warning: (?:no|one|two) hardware fact.*\n(  (?:run tiktrue-keys binding|before a part|for a further).*\n)?"
        r"|^warning: this keystore will not outlive .*\n(  move the keystore .*\n)?"
        r"|this keystore will not outlive [^.]*\. |; it lay on storage that did not outlive its container or a restart"
        r"|^(?:weak-binding|no-spare|volatile-storage)\n"
        r'|\{"code": "(?:weak-binding|no-spare|volatile-storage)"[^}]*\}(, )?',
        re.MULTILINE,
    )

    def __init__(self, program: Program) -> None:
        self._folder = str(program.folder)
        self._user, self._host = _actor()
        self._seen: dict[str, str] = {}

    def replace(self, text: str) -> str:
        """The text as a scenario file has it; runs of spaces become two, because names have other lengths."""
        text = self._WEAK.sub("", text).replace(self._folder, "<folder>").replace(__version__, "<version>")
        text = re.sub(r"\b[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}Z", "<time>", text)
        text = re.sub(r'(license_tag": ?"|license tag: +|license |this one is )[0-9a-f]{8}\b', r"\1<tag>", text)
        text = re.sub(r"(/[0-9]+\+)[0-9a-f]{8}\+", r"\1<id>+", text)
        text = re.sub(r'("user": ?"|,|<time>  +)' + re.escape(self._user) + r'("|,|  )', r"\1<user>\2", text)
        text = re.sub(r'("host": ?"|<user>,)' + re.escape(self._host) + r'("|,)', r"\1<host>\2", text)
        text = re.sub(r'"uid": ?\d+, ?"login_uid": ?(\d+|null), ?"claimed_sudo_user": ?(".*?"|null)', "<uids>", text)
        text = re.sub(r'"claimed_sudo_user":(".*?"|null)', '"claimed_sudo_user":<claim>', text)
        text = re.sub(r'"login_uid":(\d+|null),"uid":\d+', "<uids>", text)
        text = re.sub(r'"binding": \{.*?\}, "drift": \{.*?\}', '"binding": <binding>, "drift": <drift>', text)
        text = re.sub(r"^(binding: +)\w+ hardware fact.*", r"\1<binding>", text, flags=re.MULTILINE)
        text = re.sub(r"\bin \d+ (d|h|min) \(<time>\)", "in <left> (<time>)", text)
        text = re.sub(r"\b\d+ (s|min) ago\b", "<age> ago", text)
        text = re.sub(r"\bkeystore-[0-9]{8}T[0-9]{6}Z\b", "keystore-<time>", text)
        text = re.sub(r"-[0-9]{8}T[0-9]{6}Z\.checkpoint\b", "-<time>.checkpoint", text)
        for kind, pattern in self._KINDS:
            text = re.sub(pattern, lambda match, kind=kind: self._name(kind, match[0]), text)  # type: ignore[misc]
        return re.sub(r" {2,}", "  ", text)

    def restore(self, words: str) -> str:
        """The words with the things behind the names that came up so far."""
        for thing, name in self._seen.items():
            words = words.replace(name, thing)
        return words.replace("<folder>", self._folder)

    def _name(self, kind: str, thing: str) -> str:
        if thing not in self._seen:
            number = sum(name.startswith(f"<{kind} ") for name in self._seen.values()) + 1
            self._seen[thing] = f"<{kind} {number}>"
        return self._seen[thing]


_RUNS = {"$": _run, "&": _generated, "%": _shell}
