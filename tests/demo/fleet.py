"""A fleet, command by command: `make fleet-demo`, or python -m tests.demo.fleet. Needs etcd (Debian: etcd-server).

One issuer and three nodes over three members of etcd with TLS and a password; a rotation reaches everybody, and so does
a revocation in the middle of which the leader is killed. Everything lies in one temporary folder that goes away at the
end. Stops at the first exit code that is not the expected one.
"""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from typing import IO

from tests.fleet.etcd_server import Cluster, Tls, is_installed
from tests.waiting import PATIENCE

REPOSITORY = Path(__file__).resolve().parents[2]
NODES = ("node-1", "node-2", "node-3")
LICENSE = "demo-license-0001\n"


class DemoError(Exception):
    """Something ended otherwise than expected."""


class Computer:
    """One participant: a folder in the place of its machine, in which its commands run."""

    def __init__(self, name: str, folder: Path) -> None:
        self.name = name
        self.folder = folder / name
        self.folder.mkdir(mode=0o700)
        (self.folder / "license").write_text(LICENSE)
        (self.folder / "license").chmod(0o600)
        kept = {name: value for name, value in os.environ.items() if not name.startswith("TIKTRUE_")}
        self.environment = kept | {
            "PATH": f"{folder / 'bin'}{os.pathsep}{os.environ.get('PATH', os.defpath)}",
            "TIKTRUE_KEYS_HOME": str(self.folder / "keystore"),
            "XDG_CONFIG_HOME": str(self.folder / "config"),
            "TIKTRUE_HOST_SECRET_FILE": str(self.folder / "host/secret"),
            "TIKTRUE_LICENSE_FILE": str(self.folder / "license"),
        }

    def run(self, words: str, code: int = 0) -> str:
        """Show a command and its output, and insist on its exit code; the output."""
        return self.finish(words, self.start(words), code)

    def start(self, words: str, output: IO[str] | int = subprocess.PIPE) -> subprocess.Popen[str]:
        """Begin a command."""
        return subprocess.Popen(
            shlex.split(words),
            cwd=self.folder,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def finish(self, words: str, process: subprocess.Popen[str], code: int = 0) -> str:
        """Wait for a command, and show it."""
        said, _ = process.communicate(timeout=2 * PATIENCE)
        told(f"{self.name}$ {words}\n{said}".rstrip())
        if process.returncode:
            told(f"(exit code {process.returncode})")
        if process.returncode != code:
            raise DemoError(f"exit code {process.returncode} where {code} was expected")
        return said

    def watch(self, stack: ExitStack) -> Path:
        """Leave `fleet receive --watch` running; the file that it writes to."""
        log = self.folder / "watch.log"
        told(f"{self.name}$ tiktrue-keys fleet receive --watch >watch.log &")
        with open(log, "w", encoding="utf-8") as file:
            process = self.start("tiktrue-keys fleet receive --watch", output=file)
        stack.callback(process.wait)
        stack.callback(process.terminate)
        return log


def told(text: str) -> None:
    """Print, at once."""
    print(text, flush=True)


def say(text: str) -> None:
    """Print what comes next."""
    told(f"\n# {text}")


def install(folder: Path) -> None:
    """The program as this interpreter has it, installed or not, under its own name."""
    (folder / "bin").mkdir()
    script = folder / "bin/tiktrue-keys"
    script.write_text(f'#!/bin/sh\nPYTHONPATH="{REPOSITORY}" exec "{sys.executable}" -m tiktrue_keys "$@"\n')
    script.chmod(0o755)


def play(folder: Path, stack: ExitStack) -> None:
    """Everything."""
    install(folder)
    password = folder / "password"
    password.write_text("a password, made up for the demo\n")
    password.chmod(0o600)
    cluster = stack.enter_context(Cluster(folder, 3, tls=Tls(folder), password=password))
    say(f"All of this happens in {folder}, which goes away at the end; each computer is a folder of it.")
    told(f"# etcd, three members with TLS, client certificates and a password: {cluster.address}")
    admin, nodes = Computer("admin", folder), [Computer(name, folder) for name in NODES]
    meet(admin, nodes, cluster)
    ship(admin, nodes)
    logs = [node.watch(stack) for node in nodes]
    old = key_id(admin, "llama")
    rotate(admin, nodes)
    revoke(admin, nodes, cluster, old)
    say("What each watching node wrote meanwhile")
    for node, log in zip(nodes, logs, strict=True):
        told(f"{node.name}$ cat watch.log\n{log.read_text().rstrip()}")


def meet(admin: Computer, nodes: list[Computer], cluster: Cluster) -> None:
    """Names, cards, pins, settings."""
    say("A key at the issuer, whose card the nodes pin; people compare node ids, by another way than the cards take")
    admin.run("tiktrue-keys generate llama")
    admin.run("tiktrue-keys fleet init head-office")
    issuer_id = admin.run("tiktrue-keys fleet card -o ../head-office.card").split()[0]
    for node in nodes:
        say(f"{node.name}: its halves are made in place and sealed to the machine; only the card leaves it")
        node.run(f"tiktrue-keys fleet init {node.name} --role node")
        node_id = node.run(f"tiktrue-keys fleet card -o ../{node.name}.card").split()[0]
        node.run(f"tiktrue-keys fleet add ../head-office.card --role issuer --expect {issuer_id}")
        admin.run(f"tiktrue-keys fleet add ../{node.name}.card --expect {node_id}")
    say("A node id that is not the card's is refused")
    admin.run(f"tiktrue-keys fleet add ../node-1.card --expect {issuer_id}", code=5)
    say("How the transport is reached stands in everybody's settings")
    settings = "".join(
        f'{name} = "{value}"\n' for name, value in {"via": cluster.address, **cluster.credentials}.items()
    )
    for computer in (admin, *nodes):
        path = computer.folder / "config/tiktrue-keys/tiktrue-keys.toml"
        path.parent.mkdir(parents=True)
        path.write_text(f"[fleet]\n{settings}")
        path.chmod(0o600)
    admin.run("cat config/tiktrue-keys/tiktrue-keys.toml")


def ship(admin: Computer, nodes: list[Computer]) -> None:
    """The first key, by hand."""
    say("The first key goes to everybody, sealed to each machine")
    admin.run("tiktrue-keys fleet send llama --all")
    admin.run("tiktrue-keys fleet status", code=7)
    for node in nodes:
        node.run("tiktrue-keys fleet receive")
    admin.run("tiktrue-keys fleet sync")
    say("From now on the nodes watch")


def rotate(admin: Computer, nodes: list[Computer]) -> None:
    """A rotation that everybody hears of."""
    say("A rotation tells everybody")
    admin.run("tiktrue-keys rotate llama --notify-all")
    admin.run("tiktrue-keys fleet sync --wait 2m")
    nodes[0].run("tiktrue-keys list --all")


def revoke(admin: Computer, nodes: list[Computer], cluster: Cluster, old: str) -> None:
    """A revocation, with the leader killed in the middle."""
    leader = cluster.leader()
    say(f"The first key is revoked, and in the middle of it the leader of etcd (member {leader}) is killed: kill -9")
    words = f"tiktrue-keys revoke {old} --reason 'a laptop was lost' --yes"
    revoking = admin.start(words)
    time.sleep(0.3)
    cluster.kill(leader)
    killed = time.monotonic()
    back = cluster.wait_until_ready()
    told(f"# the quorum was away for {back - killed:.1f} s")
    admin.finish(words, revoking)
    admin.run("tiktrue-keys fleet sync --wait 2m")
    told(
        f"# everybody had it {max(0.0, time.monotonic() - back):.1f} s after the quorum was back, this command included"
    )
    for node in nodes:
        if f"{old}  revoked" not in node.run("tiktrue-keys list --all"):
            raise DemoError(f"{node.name} does not know of the revocation")
    say("A revoked key opens nothing, and the log of a node tells when it heard of it")
    nodes[1].run(f"tiktrue-keys validate {old}", code=10)
    nodes[1].run(f"tiktrue-keys audit show --key {old}")
    say(f"Member {leader} comes back; nothing is lacking")
    cluster.start(leader)
    cluster.wait_until_ready(members=3)
    admin.run("tiktrue-keys fleet status")
    admin.run("tiktrue-keys audit verify")


def key_id(computer: Computer, model: str) -> str:
    """The active key of a model."""
    shown = computer.start(f"tiktrue-keys show {model} --json").communicate()[0]
    return str(json.loads(shown)["result"]["keys"][-1]["key_id"])


def main() -> int:
    """Run it; the exit code."""
    if not is_installed():
        print("fleet-demo: etcd is not installed; hint: on Debian, apt-get install etcd-server", file=sys.stderr)
        return 1
    folder = Path(tempfile.mkdtemp(prefix="tiktrue-keys-fleet-demo."))
    try:
        with ExitStack() as stack:
            play(folder, stack)
    except DemoError as error:
        print(f"fleet-demo: {error}", file=sys.stderr)
        return 1
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    told("\nfleet-demo: done, every command ended as expected")
    return 0


if __name__ == "__main__":
    sys.exit(main())
