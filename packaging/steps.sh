# For the tests of what is shipped; sourced. Needs $test, their name.
#
#   step WORDS...              the next step begins
#   fail WORDS...              ends the test
#   within SECONDS COMMAND...  waits until it succeeds; whether it did
#   until_ok SECONDS COMMAND...
#                              the same, and ends the test if it did not

steps=0
step() {
    step=$*
    steps=$((steps + 1))
    echo "$test: at $SECONDS s: $step"
}
fail() {
    echo "$test: $*" >&2
    exit 1
}
within() {
    local end=$((SECONDS + $1))
    shift
    until "$@" >/dev/null 2>&1; do
        [ $SECONDS -lt $end ] || return 1
        sleep 0.2
    done
}
until_ok() {
    within "$@" || fail "not in time: ${*:2}"
}
