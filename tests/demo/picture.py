"""`python -m tests.demo.picture`: draws README's picture of a session by running its commands on a terminal.

Ids and times are replaced by fixed ones of the same length, so that two runs draw the same file.
"""

from __future__ import annotations

import io
import re
import tempfile
from pathlib import Path

from rich.console import Console
from rich.text import Text

from tests.program import Program
from tests.terminal import Terminal

PICTURE = Path(__file__).with_name("session.svg")
COLUMNS = 96
COMMANDS = (
    "generate llama-3-8b --label team=serving",
    "encrypt-model model.safetensors --key llama-3-8b",
    "rotate llama-3-8b",
    "validate llama-3-8b",
    "verify-model model.safetensors.ttm",
)
_HEX = r"(?<![0-9a-f])[0-9a-f]{%d}(?![0-9a-f])"
_MODEL = b"\x08\0\0\0\0\0\0\0{}      " + bytes(8 << 20)
_BAR = re.compile(r"[^\n]*\n\x1b\[1A\x1b\[2K")  # a progress bar, which is erased at its end
_TIMES = re.compile(r"\b20[0-9]{2}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}Z")
_HERE = re.compile(r"^warning: no machine-borne fact.*\n", re.MULTILINE)  # where it runs in a bare container
_DAYS = {0: "2026-11-30", 7: "2026-12-07", 30: "2026-12-30", 37: "2027-01-06", 120: "2027-03-30"}


def session(program: Program) -> list[tuple[str, str]]:
    """Each command and what it showed on a terminal of COLUMNS columns, colours included."""
    (program.folder / "model.safetensors").write_bytes(_MODEL)
    shown = []
    for words in COMMANDS:
        terminal = Terminal(program, *words.split(), env={"COLUMNS": str(COLUMNS), "COLORTERM": "truecolor"})
        if code := terminal.end():
            raise RuntimeError(f"{words}: exit code {code}: {terminal.said}")
        shown.append((words, terminal.said.replace("\r\n", "\n")))
    return shown


def drawn(steps: list[tuple[str, str]], folder: Path) -> str:
    """The session as an SVG file's text."""
    console = Console(record=True, width=COLUMNS, file=io.StringIO(), force_terminal=True, color_system="truecolor")
    names: dict[str, str] = {}
    for words, output in steps:
        console.print(Text.assemble(("$ ", "bold green"), (f"tiktrue-keys {words}", "bold")))
        console.print(Text.from_ansi(_settled(output, folder, names).rstrip("\n")))
    return console.export_svg(title="tiktrue-keys")


def _settled(text: str, folder: Path, names: dict[str, str]) -> str:
    """The text with fixed ids and times, and paths as an operator would have them."""
    text = _BAR.sub("", re.sub(r"\x1b\[\?25[hl]|\r", "", text))
    text = _HERE.sub("", text.replace(f"{folder}/", ""))
    for pattern, length in ((_HEX % 64, 64), (_HEX % 32, 32), (_HEX % 16, 16)):
        text = re.sub(pattern, lambda match, length=length: _name(match[0], length, names), text)  # type: ignore[misc]
    return _TIMES.sub(_time, text)


def _name(thing: str, length: int, names: dict[str, str]) -> str:
    if thing not in names:
        digits = f"{(len(names) + 3) * 0x9E3779B97F4A7C15 & (1 << 64) - 1:016x}"
        names[thing] = (digits * 4)[:length]
    return names[thing]


def _time(match: re.Match[str]) -> str:
    from datetime import UTC, datetime

    days = round((datetime.fromisoformat(match[0]) - datetime.now(UTC)).total_seconds() / 86_400)
    return f"{_DAYS[days]}T09:30:00Z"


def draw() -> str:
    """Run the session in a folder of its own and draw it."""
    with tempfile.TemporaryDirectory() as folder:
        program = Program(Path(folder))
        return drawn(session(program), program.folder)


if __name__ == "__main__":
    PICTURE.write_text(draw(), encoding="utf-8")
