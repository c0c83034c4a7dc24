# tl_bounded_log FILE: keeps the end of standard input in FILE and, before it, FILE.1: at most 10 MB each.
#
# dd writes each read at once, so that a crash loses nothing; a read counts as a block, however short it was.
tl_bounded_log() {
    # a link, a pipe or a device that the app put in its log's place is neither followed nor waited for
    while [ ! -L "$1" ] && { [ -f "$1" ] || [ ! -e "$1" ]; }; do
        tl_read_blocks=$(LC_ALL=C dd bs=65536 count=64 2>&1 >>"$1" | sed -n 's/^\([0-9]*\)+\([0-9]*\) records in$/\1+\2/p')
        [ "$((${tl_read_blocks:-0}))" -eq 64 ] || break
        [ "$(wc -c <"$1")" -lt 6291456 ] || mv -f "$1" "$1.1"
    done
    # the end of the input; or the disk is full, and whoever still writes must neither block nor die of it
    exec cat >/dev/null
}
