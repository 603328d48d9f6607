# bash completion for jog. It asks jog itself, so it knows what the installed jog knows.

_jog() {
    local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD - 1]} help words=
    local first=${COMP_WORDS[1]:-}
    COMPREPLY=()
    help=$("${COMP_WORDS[0]}" help 2>/dev/null) || return

    case $first:$prev in
    *:--*-file | *:--policy | *:--resume | restore:--metadata)
        mapfile -t COMPREPLY < <(compgen -f -- "$cur")
        return
        ;;
    *:--data-dir | *:--repair-from)
        mapfile -t COMPREPLY < <(compgen -d -- "$cur")
        return
        ;;
    *:--durability) words='full os' ;;
    *:--log-level) words='error warn info debug trace' ;;
    *:--log-format) words='text json' ;;
    *:--metrics-public | *:--sigv2 | *:--trust-proxy) words='on off' ;;
    *)
        # Lines of commands have two spaces before them, those of their help six.
        # `jog help COMMAND` is the help of that command.
        if [ "$COMP_CWORD" -eq 1 ] || [ "$first $COMP_CWORD" = 'help 2' ]; then
            words=$(sed -n 's/^  \([a-z][a-z]*\)\( .*\|$\)/\1/p' <<<"$help" | sort -u)
        elif [ "$COMP_CWORD" -eq 2 ] && [[ $cur != -* ]]; then
            words=$(sed -n "s/^  $first \([a-z][a-z]*\)\( .*\|\$\)/\1/p" <<<"$help" | sort -u)
        fi
        case $first in
        backup | restore | verify | export | import)
            if [ "$COMP_CWORD" -ge 2 ] && [[ $cur != -* ]]; then
                mapfile -t COMPREPLY < <(compgen -d -- "$cur")
                return
            fi
            ;;
        esac
        if [[ $cur == -* ]]; then
            case $first in
            server | config | healthcheck)
                words=$(sed -n 's/^  \(--[a-z0-9-]*\) .*/\1/p' <<<"$help")
                ;;
            *)
                words=$(sed -n "/^  $first /,/^      [a-z]/p" <<<"$help" |
                    grep -o -- '--[a-z-]*' | sort -u)
                words="$words --data-dir"
                ;;
            esac
        fi
        ;;
    esac
    mapfile -t COMPREPLY < <(compgen -W "$words" -- "$cur")
}

complete -F _jog jog
