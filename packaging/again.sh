#!/usr/bin/env bash
# Builds the static binary for TARGET from a copy of this source in another place, which has to give the
# same bytes: packaging/again.sh TARGET FILE
set -euo pipefail

target=$1 file=$(realpath "$2")
repo=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
tools=$("$repo/packaging/tools.sh")
elsewhere=$(mktemp -d)
trap 'rm -rf "$elsewhere"' EXIT

git -C "$repo" ls-files -z | tar -C "$repo" --null -T - -c | tar -C "$elsewhere" -x
mkdir -p "$elsewhere/target/packaging"
ln -s "$(dirname "$tools")" "$elsewhere/target/packaging/venv"
unset CARGO_TARGET_DIR
"$elsewhere/packaging/static.sh" "$target" "$file"
