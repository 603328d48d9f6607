#!/usr/bin/env bash
# Builds the static binary for one CPU: packaging/static.sh TARGET FILE
#
#   TARGET   x86_64-unknown-linux-musl, aarch64-unknown-linux-musl, armv7-unknown-linux-musleabihf
#
# The same commit gives the same bytes wherever it is built: the C compiler and linker are pinned
# (zig, from requirements.txt), as is the Rust compiler by its owner, and no path of this machine
# gets into the binary. Exit status 3: rustup has no standard library for TARGET.
set -euo pipefail

target=$1 file=$2
repo=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
max_bytes=$((5 * 1024 * 1024))

tools=$("$repo/packaging/tools.sh")
export PATH="$tools:$PATH"

sysroot=$(rustc --print sysroot)
if [ ! -d "$sysroot/lib/rustlib/$target" ]; then
    why=$(rustup target add "$target" 2>&1 | grep -m 1 -E 'could not|error|not found' || true)
    if [ ! -d "$sysroot/lib/rustlib/$target" ]; then
        echo "static: no standard library for $target, and rustup has none to add: ${why# *}" >&2
        exit 3
    fi
fi

# Paths would differ from machine to machine: /jog is this source, /cargo are the dependencies.
cargo_home=${CARGO_HOME:-$HOME/.cargo}
# Loaded at an address that nobody can guess (-pie), which the compilers leave out for static ones.
export RUSTFLAGS="-C relocation-model=pie -C link-arg=-pie"
export RUSTFLAGS+=" --remap-path-prefix=$repo=/jog --remap-path-prefix=$cargo_home=/cargo"
export CFLAGS="-g0 -ffile-prefix-map=$repo=/jog -ffile-prefix-map=$cargo_home=/cargo"
# mimalloc has the day of its compilation in it. Not that of the commit: cargo would not know that it
# has to be compiled anew.
export SOURCE_DATE_EPOCH=0
export ZIG_GLOBAL_CACHE_DIR=${ZIG_GLOBAL_CACHE_DIR:-$repo/target/packaging/zig}

cd "$repo"
# One for each, so that several can be built at once.
built=${CARGO_TARGET_DIR:-target}/static/$target
cargo zigbuild --profile static --locked --bin jog --target "$target" --target-dir "$built"
mkdir -p "$(dirname "$file")"
cp "$built/$target/static/jog" "$file.new"
mv "$file.new" "$file"

bytes=$(stat -c %s "$file")
if [ "$bytes" -gt "$max_bytes" ]; then
    echo "static: $file has $bytes bytes, more than $max_bytes" >&2
    exit 1
fi
echo "static: $file: $bytes bytes, sha256 $(sha256sum "$file" | cut -d' ' -f1)"
