"""Stores a keystore as the unmodified program leaves it, so that every later version is held to opening it.

    python -m tests.vectors.store_keystore        makes stored-keystore-<schema version>.tar.gz; needs root

Run it once for each schema version, before its release, and never again for that version: it is what users have. It
holds /var/lib of the made-up machine SERVER (keystore, host secret, high-water mark, a container, its plaintext) and
expected.json. The license and every key in it are known to everybody.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from tests.machines import OTHER_SERVER, REPOSITORY, SERVER, Machine
from tests.vectors.known import HERE, known
from tiktrue_keys.core.keystore.schema import VERSION

LICENSE = "a license, made up for stored keystores"
FOLDER = "/var/lib/tiktrue-keys"
SECRET = "/var/lib/tiktrue-keys-host/secret"
LEFT_OUT = (".reserve", ".lock", "backup.db", "card", "open.pub")
_HOST_SECRET = {"TIKTRUE_HOST_SECRET_FILE": SECRET}


@dataclass(frozen=True)
class Site:
    """A machine with a /var/lib of its own."""

    machine: Machine
    library: Path

    def json(self, *words: str) -> dict[str, Any]:
        """The result of a command line, which must succeed."""
        # A host name of its own: audit records name the host.
        named = ["unshare", "--uts", "sh", "-c", 'hostname server && exec "$@"', "sh"]
        done = self.run([*named, sys.executable, "-m", "tiktrue_keys", *words, "--json"])
        assert done.returncode == 0, f"{words}: {done.stdout}{done.stderr}"
        result: dict[str, Any] = json.loads(done.stdout)["result"]
        return result

    def run(self, argv: list[str], *, env: Mapping[str, str] = _HOST_SECRET) -> subprocess.CompletedProcess[str]:
        """Any program on this machine, the folder as root's own."""
        shown = replace(self.machine, folders={"/var/lib": self.library})
        given = {"PYTHONPATH": str(REPOSITORY), "TIKTRUE_LICENSE_KEY": LICENSE, **env}
        return shown.run(argv, env=given, cwd=Path("/"))


def site(machine: Machine, library: Path) -> Site:
    """A machine whose /var/lib is `library`, made if it is not there."""
    library.mkdir(exist_ok=True)
    library.chmod(0o755)
    return Site(machine, library)


def stored() -> list[Path]:
    """Every stored keystore."""
    return sorted(HERE.glob("stored-keystore-*.tar.gz"))


def unpack(archive: Path, library: Path) -> dict[str, Any]:
    """Put a stored keystore below `library`, as its owner left it; returns its expected.json."""
    library.mkdir(mode=0o755)
    with tarfile.open(archive) as tar:
        # "data" would open the folders to others. Python before 3.11.4 knows no filters and extracts as "tar" does.
        tar.extractall(library, **({"filter": "tar"} if hasattr(tarfile, "tar_filter") else {}))  # type: ignore[arg-type]
    expected: dict[str, Any] = json.loads((library / "expected.json").read_text(encoding="utf-8"))
    return expected


def make(target: Path) -> None:
    """Do a bit of everything that writes, on a made-up machine, and keep what is there afterwards."""
    with tempfile.TemporaryDirectory() as scratch:
        admin, node = site(SERVER, Path(scratch, "admin")), site(OTHER_SERVER, Path(scratch, "node"))
        content = known("a stored model", 3_000)
        (admin.library / "model.bin").write_bytes(content)
        expected = {"schema": VERSION, "license": LICENSE, "facts": facts(admin), **_fill(admin, node)}
        (admin.library / "expected.json").write_text(json.dumps(expected, indent=1), encoding="utf-8")
        with tarfile.open(target, "w:gz", compresslevel=9) as tar:
            for path in sorted(admin.library.rglob("*")):
                if not path.name.endswith(LEFT_OUT):
                    tar.add(path, path.relative_to(admin.library), recursive=False, filter=_of_nobody)


def facts(machine: Site) -> list[list[str]]:
    """The facts of a machine, as [kind, value]: what a reader needs that does not run on it."""
    words = "print(json.dumps([[fact.kind.value, fact.value] for fact in read_facts().facts]))"
    script = f"import json\nfrom tiktrue_keys.core.machine import read_facts\n{words}"
    done = machine.run([sys.executable, "-c", script])
    assert done.returncode == 0, done.stderr
    found: list[list[str]] = json.loads(done.stdout)
    return found


def _fill(admin: Site, node: Site) -> dict[str, Any]:
    admin.json("generate", "llama", "--label", "team=research")
    admin.json("encrypt-model", "/var/lib/model.bin", "-o", "/var/lib/model.ttm", "--key", "llama")
    admin.json("generate", "open", "--no-license")
    admin.json("generate", "batch", "--count", "40")
    admin.json("generate", "mistral", "--lifetime", "2d", "--operation-id", "0123456789abcdef01234567")
    admin.json("fleet", "init", "admin")
    _pin(admin, node)
    admin.json("rotate", "mistral", "--notify", "node-7")
    admin.json("rotate", "llama")
    lost = admin.json("generate", "lost")["keys"][0]["key_id"]
    admin.json("revoke", lost, "--reason", "stolen", "--yes")
    admin.json("cleanup", "--after", "1d", "--yes")
    admin.json("export-public", "open", "-o", "/var/lib/open.pub")
    admin.json("backup", "/var/lib/backup.db")
    return {
        "keys": admin.json("list", "--all")["keys"],
        "audit": admin.json("audit", "verify"),
    }


def _pin(admin: Site, node: Site) -> None:
    node.json("fleet", "init", "node-7", "--role", "node")
    card = node.json("fleet", "card", "-o", "/var/lib/card")
    (admin.library / "card").write_bytes((node.library / "card").read_bytes())
    admin.json("fleet", "add", "/var/lib/card", "--expect", card["node_id"])


def _of_nobody(member: tarfile.TarInfo) -> tarfile.TarInfo:
    member.uid = member.gid = 0
    member.uname = member.gname = ""
    return member


if __name__ == "__main__":
    place = HERE / f"stored-keystore-{VERSION}.tar.gz"
    if place.exists():
        sys.exit(f"{place.name} is there already: what users have does not change")
    make(place)
