"""The image and the Kubernetes manifests in real containers: podman with runc, without a network.

    pytest tests/campaign/containers.py

Builds the image from the repository, runs it with volumes and without, and plays the pods of the manifests. They are
checked against Kubernetes' own schemas. What it does not show: a cluster. It needs root, podman, buildah, runc,
catatonit and a Debian folder (debian.py).
"""

from __future__ import annotations

import base64
import copy
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml  # type: ignore[import-untyped]

from tests.campaign.debian import debian, missing, wheels
from tiktrue_keys.core.manager import KeyManager

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "tiktrue_keys" / "deploy"
MANIFESTS = sorted((DEPLOY / "kubernetes").glob("*.yaml"))
IMAGE = "localhost/tiktrue-keys"
LICENSE = "b1946ac92492d2347c6235b4d2611184b1946ac92492d2347c6235b4d2611184"
SETTINGS = '[containers]\ndefault_ulimits = ["nofile=4096:4096", "nproc=1000:1000"]\n'
"""Limits that an engine may set which is itself in a container."""
VERSIONS = ("1.28", "1.31", "1.34")
_HIDDEN = {"image": IMAGE, "imagePullPolicy": "Never"}

reason = missing("podman", "buildah", "runc", "catatonit")
pytestmark = pytest.mark.skipif(reason is not None, reason=str(reason))


@dataclass
class Engine:
    """podman and buildah with a store of their own."""

    folder: Path

    @property
    def store(self) -> list[str]:
        return ["--storage-driver=vfs", f"--root={self.folder / 'store'}", f"--runroot={self.folder / 'run'}"]

    def buildah(self, *words: str | Path) -> str:
        done = subprocess.run(["buildah", *self.store, *words], capture_output=True, text=True, check=False, cwd=ROOT)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout.strip()

    def podman(self, *words: str | Path) -> subprocess.CompletedProcess[str]:
        engine = ["podman", *self.store, "--runtime=runc", "--cgroup-manager=cgroupfs"]
        settings = self.folder / "containers.conf"
        settings.write_text(SETTINGS)
        surroundings = os.environ | {"CONTAINERS_CONF": str(settings)}
        return subprocess.run(
            [*engine, *words], env=surroundings, capture_output=True, text=True, check=False, timeout=300
        )

    def run(self, *words: str, options: Sequence[str] = (), root: bool = False) -> subprocess.CompletedProcess[str]:
        """The program in a container of its own, as the image says: read-only, without a network, not as root."""
        user = ["--user", "0:0"] if root else []
        return self.podman("run", "--rm", "--network=none", "--read-only", *user, *options, IMAGE, *words)


def build(engine: Engine) -> None:
    """Build the image in the engine's store."""
    base = engine.buildah("from", "scratch")
    engine.buildah("copy", "-q", base, debian(engine.folder / "debian"), "/")
    engine.buildah("commit", "-q", base, "localhost/base")
    engine.buildah("rm", base)
    shutil.rmtree(engine.folder / "debian")
    found = wheels(engine.folder / "wheels", ROOT / "requirements.lock")
    given = ("BASE=localhost/base", "PIP_NO_INDEX=1", "PIP_FIND_LINKS=/wheels")
    arguments = [word for each in given for word in ("--build-arg", each)]
    mounted = ["--volume", f"{found}:/wheels:ro"]
    file = DEPLOY / "container" / "Containerfile"
    engine.buildah("bud", "--isolation=chroot", *arguments, *mounted, "-t", IMAGE, "-f", file, ".")


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    """An engine that has the image."""
    made = Engine(tmp_path_factory.mktemp("engine"))
    try:
        build(made)
        yield made
    finally:
        made.podman("pod", "rm", "--all", "--force")
        made.podman("system", "reset", "--force")
        shutil.rmtree(made.folder, ignore_errors=True)


@pytest.fixture
def host(tmp_path: Path) -> Path:
    """What a node has: folders for keystore, host secret, models, spool, and a license."""
    for name in ("var/lib/tiktrue-keys", "var/lib/tiktrue-keys-host", "srv/models", "var/spool/tiktrue-keys", "etc"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "var/lib/tiktrue-keys").chmod(0o700)
    (tmp_path / "var/lib/tiktrue-keys-host").chmod(0o700)
    (tmp_path / "etc/machine-id").write_text("7d0f5a3b9c2e4f61a8b7c6d5e4f30912\n")
    (tmp_path / "license").write_text(LICENSE)
    (tmp_path / "license").chmod(0o600)
    return tmp_path


def envelope(done: subprocess.CompletedProcess[str], code: int = 0) -> dict[str, Any]:
    assert done.returncode == code, done.stdout + done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def test_the_image_is_small_and_runs_as_another_user(engine: Engine) -> None:
    history = json.loads(engine.podman("history", "--format=json", IMAGE).stdout)
    ours = sum(layer["size"] for layer in history if "debian" not in str(layer)) - history[-1]["size"]
    user = engine.podman("run", "--rm", "--network=none", "--entrypoint=/usr/bin/id", IMAGE, "-u")
    programs = engine.podman("run", "--rm", "--network=none", "--entrypoint=/bin/ls", IMAGE, "/opt/tiktrue-keys/bin")

    assert 0 < ours < 80_000_000
    assert user.stdout.strip() == "10001"
    assert "tiktrue-keys" in programs.stdout
    assert "pip" not in programs.stdout.replace("pip3", "pip")
    assert engine.run("--version").stdout.startswith("tiktrue-keys ")


def test_what_lies_on_volumes_outlives_the_container(engine: Engine, host: Path) -> None:
    volumes = ["-v", "k:/var/lib/tiktrue-keys", "-v", "h:/var/lib/tiktrue-keys-host", "-v", "m:/srv/models"]
    given = ["-e", f"TIKTRUE_LICENSE_KEY={LICENSE}", *volumes]
    writable = ["run", "--rm", "--network=none", "--user=0", *volumes, "--entrypoint=/bin/sh", IMAGE, "-c"]
    prepared = engine.podman(*writable, "head -c 3000000 /dev/urandom >/srv/models/m.bin; chown -R 10001 /srv/models")
    assert prepared.returncode == 0, prepared.stderr

    made = envelope(engine.run("generate", "llama", "--json", options=given))
    engine.run("encrypt-model", "/srv/models/m.bin", "-o", "/srv/models/m.ttm", "--key", "llama", options=given)
    opened = engine.run("decrypt-model", "/srv/models/m.ttm", "-o", "/srv/models/again.bin", options=given)
    same = engine.podman(*writable, "cmp /srv/models/m.bin /srv/models/again.bin")

    assert "volatile-storage" not in {warning["code"] for warning in made["warnings"]}
    assert opened.returncode == 0, opened.stderr
    assert same.returncode == 0, same.stdout + same.stderr
    without_secret = engine.run("validate", "--json", options=given[:4])
    assert envelope(without_secret, 8)["error"]["code"] == "wrong-machine"
    without_keystore = engine.run("validate", "--json", options=["-v", "h:/var/lib/tiktrue-keys-host"])
    assert envelope(without_keystore, 3)["error"]["code"] == "not-found"
    assert "a container (podman)" in engine.run("doctor", options=given).stdout
    assert envelope(engine.run("binding", "show", "--json"))["result"]["container"] == "a container (podman)"


def test_what_would_vanish_is_told_beforehand(engine: Engine) -> None:
    given = ["-e", f"TIKTRUE_LICENSE_KEY={LICENSE}"]

    read_only = envelope(engine.run("generate", "llama", "--json", options=given), 5)["error"]
    in_memory = [*given, "--tmpfs=/var/lib/tiktrue-keys", "-v", "h2:/var/lib/tiktrue-keys-host"]
    asked = envelope(engine.run("generate", "llama", "--json", options=in_memory), 5)["error"]
    layered = engine.podman("run", "--rm", "--network=none", *given, IMAGE, "generate", "llama", "--json")
    accepted = engine.podman(
        "run", "--rm", "--network=none", *given, IMAGE, "generate", "llama", "--json", "--ephemeral"
    )

    assert "read-only file system" in read_only["message"]
    assert asked["message"] == "this keystore will not outlive this container (podman): the database is on tmpfs"
    assert "the database, the host secret and the marks are on" in envelope(layered, 5)["error"]["message"]
    assert "volatile-storage" in {warning["code"] for warning in envelope(accepted)["warnings"]}


def test_secrets_are_taken_as_a_cluster_mounts_them(engine: Engine, tmp_path: Path) -> None:
    """As the kubelet lays a volume out for a user and an fsGroup; podman's own Secrets have no links."""
    version = tmp_path / "volume" / "..2026_11_30_21_08_46.123456789"
    version.mkdir(parents=True)
    for name, content in (("host", os.urandom(32)), ("license", LICENSE.encode())):
        (version / name).write_bytes(content)
        (version / name).chmod(0o440)
        os.chown(version / name, 0, 2000)
        (version.parent / name).symlink_to(f"..data/{name}")
    (version.parent / "..data").symlink_to(version.name)
    version.parent.chmod(0o1777)
    variables = ("TIKTRUE_HOST_SECRET_FILE=/run/secrets/host", "TIKTRUE_LICENSE_FILE=/run/secrets/license")
    given = ["--group-add=2000", *(word for each in variables for word in ("-e", each))]
    given += ["-v", "k3:/var/lib/tiktrue-keys", "-v", "h3:/var/lib/tiktrue-keys-host"]
    volume = f"{version.parent}:/run/secrets"

    made = envelope(engine.run("generate", "llama", "--json", options=[*given, "-v", f"{volume}:ro"]))
    rotated = engine.run("rotate", "llama", options=[*given, "-v", f"{volume}:ro"])
    writable = envelope(engine.run("validate", "--json", options=[*given, "-v", volume]), 13)

    assert {"volatile-storage", "license-readable"}.isdisjoint(warning["code"] for warning in made["warnings"])
    assert rotated.returncode == 0, rotated.stderr
    assert writable["error"]["code"] == "insecure"


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("manifest", MANIFESTS, ids=lambda path: path.name)
def test_kubernetes_takes_the_manifests(manifest: Path, version: str) -> None:
    schemas = pytest.importorskip("kubernetes_validate")
    documents = list(yaml.safe_load_all(manifest.read_text()))

    for document in documents:
        schemas.validate(document, version, strict=True)

    documents[-1]["spec"]["hostNetworks"] = True
    with pytest.raises(schemas.ValidationError):
        schemas.validate(documents[-1], version, strict=True)


def placed(value: Any, host: Path) -> Any:
    """The manifest with the paths of the node below `host`, and the images that are here."""
    if isinstance(value, list):
        return [placed(each, host) for each in value]
    if not isinstance(value, dict):
        return value
    made = {name: placed(each, host) for name, each in value.items()}
    if "hostPath" in made:
        made["hostPath"]["path"] = f"{host}{made['hostPath']['path']}"
    for source in ("secret", "configMap"):
        if source in made:
            made[source].setdefault("optional", False)  # podman 4.3 looks without asking
    if "image" in made:
        made |= _HIDDEN
        made.pop("resources", None)  # no cgroups of one's own here
    return made


def pod_of(document: Mapping[str, Any], name: str, host: Path, **variables: str) -> dict[str, Any]:
    """A pod as a controller would make it on the node "node-1"."""
    template = document["spec"].get("template", document)
    spec = placed(copy.deepcopy(template["spec"]), host)
    text = json.dumps(spec)
    text = text.replace('"valueFrom": {"fieldRef": {"fieldPath": "spec.nodeName"}}', '"value": "node-1"')
    for variable, value in variables.items():  # podman does not expand them
        text = text.replace(f"$({variable})", value)
    # podman 4.3 would start a first container again, and remove it while it runs.
    once = {"io.podman.annotations.init.container.type": "always"}
    played = json.loads(text) | {"restartPolicy": "Never"}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "annotations": once}, "spec": played}


def play(engine: Engine, host: Path, documents: Sequence[Mapping[str, Any]]) -> subprocess.CompletedProcess[str]:
    file = host / "play.yaml"
    file.write_text(yaml.safe_dump_all(documents))
    return engine.podman("kube", "play", "--network=none", file)


def test_a_node_receives_and_a_pod_serves(engine: Engine, host: Path) -> None:
    node, serve = (list(yaml.safe_load_all((DEPLOY / "kubernetes" / name).read_text())) for name in
                   ("node.yaml", "serve.yaml"))  # fmt: skip
    issuer = KeyManager(host / "issuer" / "keys", host_secret_file=host / "issuer" / "host" / "secret")
    with issuer:
        program = [sys.executable, "-m", "tiktrue_keys"]
        surroundings = {
            **{name: value for name, value in os.environ.items() if not name.startswith("TIKTRUE_")},
            "TIKTRUE_KEYS_HOME": str(host / "issuer/keys"),
            "TIKTRUE_HOST_SECRET_FILE": str(host / "issuer/host/secret"),
            "TIKTRUE_LICENSE_FILE": str(host / "license"),
            "TIKTRUE_EPHEMERAL": "1",
        }

        def at_issuer(*words: str | Path) -> str:
            done = subprocess.run([*program, *words], env=surroundings, capture_output=True, text=True, check=False)
            assert done.returncode == 0, f"{words}: {done.stdout}{done.stderr}"
            return done.stdout

        at_issuer("generate", "llama")
        node_id = at_issuer("fleet", "init", "office", "--role", "issuer").strip()
        at_issuer("fleet", "card", "-o", host / "issuer.card")
        settings = {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": "tiktrue-issuer"},
            "data": {"card": (host / "issuer.card").read_text(), "node-id": node_id},
        }
        secret = {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": "tiktrue-license"},
            "data": {"license": base64.b64encode(LICENSE.encode()).decode()},
        }
        receiving = [secret, node[0], settings, pod_of(node[1], "node", host, NODE_NAME="node-1", ISSUER=node_id)]
        played = play(engine, host, receiving)
        assert played.returncode == 0, played.stdout + played.stderr
        log = engine.podman("logs", "node-receive")
        card = engine.podman("exec", "node-receive", "tiktrue-keys", "fleet", "card", "-o", "-")
        assert card.returncode == 0, log.stdout + log.stderr + card.stderr
        (host / "node.card").write_text(card.stdout)
        shown = engine.podman("exec", "node-receive", "tiktrue-keys", "fleet", "init", "node-1", "--role", "node")
        at_issuer("fleet", "add", host / "node.card", "--expect", shown.stdout.strip())
        (host / "model.bin").write_bytes(os.urandom(2_000_000))
        at_issuer(
            "encrypt-model", host / "model.bin", "-o", host / "srv/models/llama.safetensors.ttm", "--key", "llama"
        )
        via = f"spool:{host}/var/spool/tiktrue-keys"
        at_issuer("fleet", "send", "llama", "--to", "node-1", "--via", via)
        at_issuer("fleet", "sync", "--via", via, "--wait", "60s")

        serving = pod_of(serve[0], "serve", host)
        serving["spec"]["containers"][0] |= {"command": ["/usr/bin/sha256sum"], "args": ["/model/llama.safetensors"]}
        served = play(engine, host, [secret, serving])
        assert served.returncode == 0, served.stdout + served.stderr
        engine.podman("wait", "serve-serve")
        digest = engine.podman("logs", "serve-serve").stdout.split(" ")[0]
        plain = subprocess.run(["sha256sum", host / "model.bin"], capture_output=True, text=True, check=True)
        inside = engine.podman("exec", "node-receive", "tiktrue-keys", "doctor")

    assert digest == plain.stdout.split(" ")[0]
    assert "volatile" not in inside.stdout
    assert list((host / "srv/models").iterdir()) == [host / "srv/models/llama.safetensors.ttm"]
