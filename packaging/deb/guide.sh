# Runs the guide's commands on the booted Debian of test.sh, which sources this where the package is
# purged. What cannot be done there has a stand-in: an editor that knows what to write, and a wget
# that brings Litestream without a network.
# shellcheck shell=bash

# shellcheck source=packaging/blocks.sh
. "$repo/packaging/blocks.sh"

# as_typed [STATUS] : runs what it reads, in the guest, as if typed in on a terminal; it has to end
# with that status. What it said is in $work/said.
as_typed() {
    local status=0
    { echo 'set -euxo pipefail; cd /srv'; cat; } >"$root/srv/typed"
    guest script -qec 'bash /srv/typed' /dev/null </dev/null >"$work/said" 2>&1 || status=$?
    [ "$status" = "${1:-0}" ] || { cat "$work/said" >&2; fail "the guide's command ends with $status"; }
}
run_block() { take_block "$1" | as_typed "${2:-0}"; }
run_inline() { take_inline "$1" | as_typed "${2:-0}"; }
said() { grep -Eq -- "$1" "$work/said" || { cat "$work/said" >&2; fail "it does not say: $1"; }; }
put() { s3 -X PUT --data-binary "$2" "$bucket/$1"; }
lose_metadata() { find "$root/var/lib/jog" -maxdepth 1 -name '*metadata.db*' -exec rm -r {} +; }
start_from_nothing() {
    guest sh -c 'systemctl reset-failed; rm -rf /etc/jog /var/lib/jog /var/backups/jog'
    guest deluser --quiet --system jog
}

step "the guide: install"
start_from_nothing
rm -f "$root/usr/local/bin/litestream"
echo "127.0.0.1 localhost $(uname -n)" >"$root/etc/hosts"
echo 'APT::Get::Assume-Yes "true";' >"$root/etc/apt/apt.conf.d/90yes"
cat >"$root/usr/local/bin/editor" <<'TEXT'
#!/bin/sh
for file; do
    case $file in
    *.yml) sed -i '1,/^# --- a folder ---$/d; s/^#//' "$file" ;;
    *.env) printf 'AWS_ACCESS_KEY_ID=x\nAWS_SECRET_ACCESS_KEY=y\n' >"$file" ;;
    *) cat /srv/unit >"$file" ;;
    esac
done
TEXT
printf '#!/bin/sh\ncp "/srv/web/${1##*/}" .\n' >"$root/usr/local/bin/wget"
chmod 0755 "$root/usr/local/bin/editor" "$root/usr/local/bin/wget"
cp "$old" "$root/srv/jog_$(sed -n 's/^version = "\(.*\)"/\1/p' "$repo/Cargo.toml" | head -n 1)_amd64.deb"
run_block deb:install
said '^JOG_SECRET_KEY=[A-Za-z0-9]{40}'
until_ok 20 serves
run_block deb:look
said 'active \(running\)'
s3 -X PUT "$bucket"
put a first

step "the guide: settings and users"
run_block deb:sse-key
s3 -X PUT -H 'x-amz-server-side-encryption: AES256' --data-binary sealed "$bucket/sealed"
reads sealed sealed
run_block deb:config
said '^JOG_DATA_DIR +/var/lib/jog +environment'
said '^JOG_SSE_KEY_FILE +jog_sse-key +environment'
run_block deb:users
said '^secret key  '
run_inline 'sudo systemctl restart jog'
reads a first
run_block deb:service
said 'GET '
said '^NRestarts=0'
run_inline 'systemd-analyze security jog'

step "the guide: data elsewhere"
take_block deb:elsewhere-unit >"$root/srv/unit"
run_block deb:elsewhere
run_block deb:elsewhere-restart
serves >/dev/null
[ -s "$root/srv/jog/metadata.db" ] || fail "the data is not elsewhere"
guest systemctl revert jog
guest systemctl restart jog
reads a first

step "the guide: backup and restore"
guest systemd-analyze verify --man=no jog-{backup,verify}.{service,timer} jog{,-litestream,-replica}.service
guest systemctl is-enabled jog-backup.timer jog-verify.timer >/dev/null && fail "timers are on by themselves"
put b second
run_block deb:backup-schedule
said 'jog-backup\.timer'
said 'jog-verify\.timer'
backup=$root/var/backups/jog/full
[ "$(find "$backup/buckets" -type f -links 2 | wc -l)" = 3 ] || fail "no hard links"
[ "$(guest journalctl -u jog-verify -o cat --no-pager | grep -cx sound)" = 2 ] || fail "not verified"
run_block deb:backup-by-hand
said 'sound'
# What is lost is told, and comes back with the next backup, of which one stays.
rm "$(find "$backup/buckets" -type f | head -n 1)"
guest systemctl start jog-verify 2>/dev/null && fail "nobody misses a file"
run_inline 'systemctl --failed'
said 'jog-verify'
run_inline 'journalctl -u jog-backup -u jog-verify'
said 'NOT SOUND: 1 files are lost'
sed -i 's/^#BACKUP_KEEP=.*/BACKUP_KEEP=1/' "$root/etc/jog/backup.env"
guest systemctl start jog-backup
guest systemctl start jog-verify
[ "$(guest jog backup /var/backups/jog/full --list | wc -l)" = 1 ] || fail "another number of snapshots"
put c 'after the backup'
run_block deb:restore
said 'sound'
reads a first
reads sealed sealed
s3 "$bucket/c" 2>/dev/null && fail "it is not the backup that was restored"

step "the guide: plain files"
s3 -X PUT "http://127.0.0.1:9000/album"
s3 -X DELETE "$bucket/sealed"
run_block deb:plain-files
[ "$(cat "$root/var/backups/jog/files/photos/a")" = first ] || fail "the object is no file"
[ "$(s3 http://127.0.0.1:9000/album/a)" = first ] || fail "the file is no object"
s3 -X PUT -H 'x-amz-server-side-encryption: AES256' --data-binary sealed "$bucket/sealed"
run_block deb:plain-files-sealed
[ "$(cat "$root/var/backups/jog/files/photos/sealed")" = sealed ] || fail "the object is no file"

step "the guide: watch"
run_block deb:stats
said '^last backup'
run_block deb:metrics
said '^jog_'
run_block deb:scrub
serves >/dev/null

step "the guide: Litestream"
line=$(sed -n 's|.*/v\(0\.3\.[0-9]*\)/litestream.*|\1|p' "$repo/packaging/guide.en.md" | head -n 1)
mkdir -p "$work/litestream/DEBIAN" "$root/srv/web"
install -D -m 0755 "$("$repo/packaging/litestream/program.sh" 0.3)" "$work/litestream/usr/bin/litestream"
printf 'Package: litestream\nVersion: %s\nArchitecture: %s\nMaintainer: test\nDescription: test\n' \
    "$line" "$(guest dpkg --print-architecture)" >"$work/litestream/DEBIAN/control"
dpkg-deb --root-owner-group -Znone -b "$work/litestream" \
    "$root/srv/web/litestream-v$line-linux-amd64.deb" >/dev/null
run_block deb:litestream-install
run_block deb:litestream-settings
guest stat -c '%a %U:%G' /etc/jog/litestream.yml | grep -qx '640 root:jog' || fail "litestream.yml"
guest stat -c '%a %U:%G' /etc/jog/litestream.env | grep -qx '600 root:root' || fail "litestream.env"
run_block deb:litestream-around
until_ok 20 serves
put wrapped around
sleep 3 # Litestream looks once a second.
guest systemctl stop jog-litestream
lose_metadata
guest systemctl start jog-litestream
until_ok 20 serves
reads wrapped around
guest systemctl disable --now jog-litestream
run_block deb:litestream-beside
until_ok 20 serves
put beside beside
sleep 3
guest sudo -u jog rsync -a /var/lib/jog/buckets/ /var/backups/jog/buckets/
run_block deb:litestream-restore
until_ok 20 serves
reads beside beside
guest systemctl stop jog jog-replica
rm -r "$root/var/lib/jog/buckets"
run_block deb:files-back
said 'sound'
reads beside beside
reads sealed sealed
guest systemctl disable --now jog-replica

step "the guide: upgrade and troubles"
cp "$new" "$root/srv/jog_NEW_amd64.deb"
pid=$(main_pid)
run_block deb:upgrade
until_ok 20 restarted "$pid"
reads a first
guest systemctl is-enabled jog-backup.timer >/dev/null
run_inline 'journalctl -u jog -n 50'
run_inline 'systemctl status jog jog-litestream' 3
said 'active \(running\)'
run_inline 'sudo ss -ltnp '\''sport = :9000'\'''
said '"jog"'
rm -r "$root/etc/jog/credentials"
run_inline 'sudo install -d -m 0700 /etc/jog/credentials'
run_inline 'sudo chown -R jog:jog /var/lib/jog'

step "the guide: remove, purge, and the binary alone"
run_inline 'sudo apt remove jog'
run_inline 'sudo apt purge jog'
[ ! -e "$root/etc/systemd/system/timers.target.wants/jog-backup.timer" ] || fail "a timer is left"
start_from_nothing
dpkg-deb --fsys-tarfile "$new" | tar -xO ./usr/bin/jog >"$root/srv/jog-x86_64-linux-musl"
cp "$repo/jog.service" "$root/srv/jog.service"
run_block deb:binary
until_ok 20 serves
s3 -X PUT "$bucket"
put a alone
reads a alone
guest systemctl is-enabled jog >/dev/null

all_blocks_ran deb
