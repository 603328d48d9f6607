#!/usr/bin/env bash
# Installs requirements.txt into target/packaging/venv, once, and prints the folder of its programs.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
made=$(cd "$here/.." && pwd)/target/packaging
venv=$made/venv
mkdir -p "$made"
exec 9>"$made/.lock"
flock 9
wanted=$(sha256sum <"$here/requirements.txt")
if [ "$(cat "$venv/.stamp" 2>/dev/null)" != "$wanted" ]; then
    rm -rf "$venv"
    python3 -m venv "$venv" >&2
    "$venv/bin/pip" install --quiet --disable-pip-version-check --no-deps \
        -r "$here/requirements.txt" >&2
    "$venv/bin/pip" check >&2
    printf '%s\n' "$wanted" >"$venv/.stamp"
fi
echo "$venv/bin"
