# For the tests that run the guide's commands; sourced. Needs $repo, $work and fail.
#
#   take_block TEST:NAME      prints a block of the guide, and notes that it was taken
#   take_inline COMMAND       the same for a command within a line of text, which must be there
#   all_blocks_ran TEST       fails if one of the test's blocks was not taken

take_block() {
    echo "${1#*:}" >>"$work/taken"
    "$repo/packaging/guide.py" show "$1"
}
take_inline() {
    "$repo/packaging/guide.py" inline "$1"
    echo "$1"
}
all_blocks_ran() {
    local left
    left=$(comm -23 <("$repo/packaging/guide.py" names "$1" | sort) <(sort -u "$work/taken"))
    [ -z "$left" ] || fail "blocks of the guide that were not run: $left"
}
