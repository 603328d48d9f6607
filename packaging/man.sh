#!/usr/bin/env bash
# Writes the man page jog(1): packaging/man.sh JOG VERSION
#
# JOG is run for its `help`, from which the commands and settings are taken, so that the page tells
# of no others.
set -euo pipefail

help=$("$1" help)
version=$2
day=$(date -u -d "@${SOURCE_DATE_EPOCH:-0}" +%Y-%m-%d)

# What begins with a dash or a dot, and backslashes, are characters here and no commands.
plain() { sed -e 's/\\/\\e/g' -e 's/-/\\-/g' -e "s/^\\([.']\\)/\\\\\\&\\1/"; }
# between FIRST LAST : the lines between two that begin so
between() { sed -n "/^$1/,/^$2/p" <<<"$help" | sed '1d;$d' | sed '/^$/d'; }

cat <<TEXT
.TH JOG 1 $day "jog $version" "User Commands"
.SH NAME
jog \\- S3\\-compatible object store for one host
.SH SYNOPSIS
.B jog
.I COMMAND
.RI [ OPTIONS ]
.SH DESCRIPTION
.B jog server
serves the S3 protocol from a folder of data: files of objects below
.IR buckets ,
and one SQLite database with their metadata.
The other commands administer it and are run as the user that owns the data directory;
while a server runs on the data directory they run inside it.
.SH COMMANDS
TEXT
between 'Commands:' 'Commands on the store' | sed -e '/^$/d' | while read -r name text; do
    printf '.TP\n.B %s\n%s\n' "$(plain <<<"$name")" "$(plain <<<"$text")"
done
# The commands of a section of the help: a line of usage each, perhaps more, and lines that say more.
commands() {
    awk 'function say() { if (usage) { print usage; print text } }
         /^  [a-z]/ { say(); usage = $0; sub(/^ +/, "", usage); text = ""; next }
         /^ +[[-]/ && text == "" { sub(/^ +/, " "); usage = usage $0; next }
         /^      / { sub(/^ +/, ""); text = text (text == "" ? "" : " ") $0 }
         END { say() }' |
        while read -r usage && read -r text; do
            printf '.TP\n.B %s\n%s\n' "$(plain <<<"$usage")" "$(plain <<<"$text")"
        done
}
printf '.SS Commands on the store\nThey take \\fB\\-\\-data\\-dir\\fR and run inside the server, if one runs.\n'
between 'Commands on the store' 'Commands beside' | commands
printf '.SS Commands beside the server\nThey take \\fB\\-\\-data\\-dir\\fR; a server may run meanwhile.\n'
between 'Commands beside' 'Options of' | commands
cat <<'TEXT'
.SH SETTINGS
Each is an option of
.BR server ,
.B config
and
.B healthcheck
and a variable of the environment; the option wins. What has no option is a variable alone.
The service reads the variables from
.IR /etc/jog/jog.env .
TEXT
sed -n '/^Options of/,$p' <<<"$help" | sed -n 's/^  \(--[a-z0-9-]*\)  *\(JOG_[A-Z0-9_]*\)  *\(.*\)/\1\t\2\t\3/p' |
    while IFS=$'\t' read -r flag env text; do
        printf '.TP\n.BR %s ", " %s\n%s\n' \
            "$(plain <<<"$flag")" "$env" "$(plain <<<"$text")"
    done
sed -n 's/^  \(JOG_WEBHOOK_[A-Z_]*\)  *\(.*\)/\1\t\2/p' <<<"$help" |
    while IFS=$'\t' read -r env text; do
        printf '.TP\n.B %s\n%s\n' "$env" "$(plain <<<"$text")"
    done
cat <<'TEXT'
.SH FILES
.TP
.I /etc/jog/jog.env
settings of the service, and the credentials that were made when the package was installed
.TP
.I /etc/jog/backup.env
where jog-backup.timer and jog-verify.timer, once they are enabled, have the backup
.TP
.I /etc/jog/credentials/NAME
secrets of the service; JOG_SSE_KEY_FILE=jog_NAME and its like name them
.TP
.I /var/lib/jog
the data of the service
.TP
.I /usr/share/doc/jog/guide.en.md.gz
the guide for operators; in Japanese guide.ja.md.gz
.SH EXIT STATUS
0 if all went well, 1 if it did not, 2 if the command line or a setting was not understood,
3 if something was found lost or had to be left out.
.SH SIGNALS
On SIGTERM or SIGINT
.B jog server
takes no further requests, lets those in flight end within JOG_SHUTDOWN_TIMEOUT and stops;
a second signal ends it at once.
.SH EXAMPLES
.nf
JOG_DATA_DIR=/srv/jog jog server
sudo \-u jog jog user add photos \-\-allow list,read,put \-\-bucket photos \-\-data\-dir /var/lib/jog
.fi
.SH SEE ALSO
.BR systemctl (1),
.BR journalctl (1),
.BR litestream (1)
TEXT
