"""Plants a recorded machine below a folder, so that the Linux reader can be run over it."""

from __future__ import annotations

from pathlib import Path

RECORDED = Path(__file__).with_name("recorded")


def plant(root: Path, text: str) -> Path:
    r"""Make the files of a tree and return `root`.

    A line is `path: content` (a newline is added, `\0` is NUL, `\n` a further line), `link -> target`, `folder/`, or a
    comment after `#`.
    """
    for line in text.splitlines():
        if line.startswith("#") or not line:
            continue
        name, link, target = line.partition(" -> ")
        path = root / name.partition(": ")[0].strip("/")
        path.parent.mkdir(parents=True, exist_ok=True)
        if link:
            path.symlink_to(target)
        elif line.endswith("/"):
            path.mkdir()
        else:
            path.write_text(line.partition(": ")[2].replace("\\0", "\0").replace("\\n", "\n") + "\n", encoding="utf-8")
    return root


def planted(root: Path, name: str) -> Path:
    """Plant one of the recorded machines."""
    return plant(root, (RECORDED / f"{name}.tree").read_text(encoding="utf-8"))
