#!/usr/bin/env bash
# Makes the Debian package: packaging/deb/build.sh ARCH BINARY NATIVE FILE [VERSION]
#
#   ARCH     amd64, arm64 or armhf
#   BINARY   the static binary for it
#   NATIVE   a jog that runs here, which is asked for its commands and settings (the man page)
#   FILE     what to write
#   VERSION  that of Cargo.toml if not given
#
# With dpkg-deb alone, so that everything that gets onto a machine as root can be read here. The same
# commit gives the same bytes.
set -euo pipefail

arch=$1 binary=$2 native=$3 file=$4
repo=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
here=$repo/packaging/deb
version=${5:-$(sed -n 's/^version = "\(.*\)"/\1/p' "$repo/Cargo.toml" | head -n 1)}
epoch=$(git -C "$repo" log -1 --format=%ct 2>/dev/null || echo 0)
export SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$epoch}

root=$(mktemp -d)
trap 'rm -rf "$root"' EXIT
chmod 0755 "$root"

# put MODE SOURCE PLACE
put() { install -D -m "$1" "$2" "$root/$3"; }
# packed PLACE : what comes in, compressed without a date
packed() {
    mkdir -p "$root/$(dirname "$1")"
    gzip -9n >"$root/$1"
    chmod 0644 "$root/$1"
}

put 0755 "$binary" usr/bin/jog
put 0644 "$repo/jog.service" lib/systemd/system/jog.service
put 0644 "$repo/packaging/litestream/jog-litestream.service" \
    lib/systemd/system/jog-litestream.service
put 0644 "$repo/packaging/litestream/jog-replica.service" lib/systemd/system/jog-replica.service
for unit in jog-backup.service jog-backup.timer jog-verify.service jog-verify.timer; do
    put 0644 "$repo/packaging/backup/$unit" lib/systemd/system/$unit
done
put 0644 "$here/jog.env" usr/share/jog/jog.env
put 0644 "$repo/packaging/jog.bash" usr/share/bash-completion/completions/jog
put 0644 "$here/lintian-overrides" usr/share/lintian/overrides/jog
"$repo/packaging/man.sh" "$native" "$version" | packed usr/share/man/man1/jog.1.gz

doc=usr/share/doc/jog
put 0644 "$here/copyright" $doc/copyright
for text in README.md SECURITY.md packaging/guide.en.md packaging/guide.ja.md; do
    packed "$doc/$(basename $text).gz" <"$repo/$text"
done
put 0644 "$repo/packaging/litestream/litestream-0.5.yml" $doc/examples/litestream-0.5.yml
put 0644 "$repo/packaging/litestream/litestream-0.3.yml" $doc/examples/litestream-0.3.yml
put 0644 "$repo/packaging/backup/backup.env" $doc/examples/backup.env
packed $doc/changelog.gz <<TEXT
jog ($version) stable; urgency=medium

  * See the guide and the project's CHANGELOG.md.

 -- JOG maintainers <jog@jog.invalid>  $(date -R -u -d "@$SOURCE_DATE_EPOCH")
TEXT

mkdir -p "$root/DEBIAN"
install -m 0755 "$here/postinst" "$here/prerm" "$here/postrm" "$root/DEBIAN"
size=$(du -k -s --apparent-size --exclude=DEBIAN "$root" | cut -f1)
sed -e "s/@VERSION@/$version/" -e "s/@ARCH@/$arch/" -e "s/@SIZE@/$size/" \
    "$here/control.in" >"$root/DEBIAN/control"
(cd "$root" && find . -type f ! -path './DEBIAN/*' -printf '%P\0' | sort -z | xargs -0 md5sum) \
    >"$root/DEBIAN/md5sums"
chmod 0644 "$root/DEBIAN/control" "$root/DEBIAN/md5sums"
find "$root" -exec touch -h -d "@$SOURCE_DATE_EPOCH" {} +

mkdir -p "$(dirname "$file")"
dpkg-deb --root-owner-group -Zxz -b "$root" "$file" >/dev/null
echo "deb: $file: $(stat -c %s "$file") bytes"
