#!/usr/bin/env bash
# Starts binaries once each and asks them: packaging/test-static.sh FILE...
#
# Those of other CPUs run under qemu-user; those named -musl have to be static. With AGAIN=FILE, made
# by packaging/again.sh, the first must have the same bytes as that one.
set -euo pipefail

repo=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
work=$(mktemp -d)
server=''
cleanup() {
    [ -z "$server" ] || kill "$server" 2>/dev/null || true
    rm -rf "$work"
}
trap cleanup EXIT
fail() {
    echo "test-static: $*" >&2
    exit 1
}

passed=0
for file in "$@"; do
    run=()
    # The machine that an ELF file is for, as a number (ELF-64 Object File Format, e_machine).
    case $(od -An -j18 -N2 -tu2 "$file" | tr -d ' ') in
    62) run=() ;;
    183) run=(qemu-aarch64-static) ;;
    40) run=(qemu-arm-static) ;;
    *) fail "$file: for which CPU?" ;;
    esac
    readelf -h "$file" | grep -q 'Type: *DYN' || fail "$file has a fixed address"
    if [[ $file = *-musl ]]; then
        if readelf -l "$file" | grep -q INTERP; then fail "$file is not static"; fi
        if grep -aqF -e "$repo" -e "$HOME/.cargo" "$file"; then
            fail "$file has paths of this machine in it"
        fi
    fi
    "${run[@]}" "$file" version
    mkdir "$work/data"
    JOG_PORT=0 JOG_ADDRESS=127.0.0.1 JOG_DATA_DIR=$work/data \
        "${run[@]}" "$file" server 2>"$work/log" &
    server=$!
    for _ in $(seq 200); do
        grep -q ' serves ' "$work/log" && break
        sleep 0.1
    done
    port=$(sed -n 's/.* serves .*:\([0-9]*\)$/\1/p' "$work/log")
    [ -n "$port" ] || { cat "$work/log"; fail "$file does not start"; }
    JOG_PORT=$port "${run[@]}" "$file" healthcheck
    s3() {
        curl -sSf --max-time 20 --aws-sigv4 aws:amz:us-east-1:s3 -u minioadmin:minioadmin \
            -H 'x-amz-content-sha256: UNSIGNED-PAYLOAD' "$@"
    }
    s3 -X PUT "http://127.0.0.1:$port/box"
    s3 -X PUT --data-binary "@$repo/README.md" "http://127.0.0.1:$port/box/k"
    s3 "http://127.0.0.1:$port/box/k" | cmp - "$repo/README.md"
    kill "$server"
    wait "$server" || fail "$file does not end well"
    server=''
    rm -r "$work/data"
    passed=$((passed + 1))
done

if [ -n "${AGAIN:-}" ]; then
    cmp "$1" "$AGAIN" || fail "another build gives other bytes"
    passed=$((passed + 1))
fi
echo "test-static: $passed passed, 0 failed"
