# Words that the platform's other scripts share. POSIX sh; every variable of the platform starts with tl_.

# Exit codes that the platform understands: 10 = failed, 11 = the target lacks something; the reason is on stderr.
tl_fail() {
    [ ! -d "${tl_logs:-/nonexistent}" ] || tl_log "failed: $*"
    printf '%s\n' "$*" >&2
    exit 10
}

tl_lacks() {
    printf '%s\n' "$*" >&2
    exit 11
}

tl_log() {
    tl_append "$tl_logs/deploy.log" "$(date -u +%H:%M:%S) $*"
}

# Add a line to a log. The folder is the app's to write into: a link, a pipe or a device that it put in a log's place is
# neither followed nor waited for, and a line that can't be written is no failure.
tl_append() {
    if [ -f "$1" ] && [ ! -L "$1" ]; then
        printf '%s\n' "$2" >>"$1"
    fi 2>/dev/null
    return 0
}

# Write a state file so that no reader ever sees half of it.
tl_put() {
    printf '%s\n' "$2" >"$1.new" && mv -f "$1.new" "$1"
}

# The content of a small regular file, or the second argument. A symbolic link is not followed.
tl_read() {
    tl_value=$2
    if [ -f "$1" ] && [ ! -L "$1" ]; then
        IFS= read -r tl_value <"$1" || [ -n "$tl_value" ] || tl_value=$2
    fi
}

# The processes that belong to the deploy tl_nonce, one a line: those with its marker in their environment, those in
# the supervisor's session, and all that descend from either. A dead session leader's number can't be taken by a
# stranger while its session lives, so the session counts unless its leader is somebody else's.
tl_tree() {
    tl_read "$tl_state/supervisor" 0
    tl_session=$tl_value
    if [ -d "/proc/$tl_session" ] &&
        ! grep -q ') [ZX] ' "/proc/$tl_session/stat" 2>/dev/null &&
        ! grep -qzx "TESTLAB_DEPLOY=$tl_nonce" "/proc/$tl_session/environ" 2>/dev/null; then
        tl_session=0
    fi
    # shellcheck disable=SC2046 # these names hold nothing odd
    set -- $(grep -lzx "TESTLAB_DEPLOY=$tl_nonce" /proc/[0-9]*/environ 2>/dev/null)
    # what came after the look at the environments is found as their child, so this list is made after it
    awk -v session="$tl_session" -v marked="$*" '
        BEGIN {
            for (i = split(marked, mark, " "); i > 0; i--) {
                split(mark[i], part, "/")
                ours[part[3]] = 1
            }
            for (i = 1; i < ARGC; i++) {
                text = ""
                while ((getline line <ARGV[i]) > 0) text = text line " "
                close(ARGV[i])
                if (!sub(/^.*\) /, "", text)) continue
                split(text, field, " ")
                if (field[1] == "Z" || field[1] == "X") continue
                split(ARGV[i], part, "/")
                parent[part[3]] = field[2]
                if (session + 0 > 0 && field[4] == session) ours[part[3]] = 1
            }
            do {
                grown = 0
                for (pid in parent)
                    if (!(pid in ours) && (parent[pid] in ours)) { ours[pid] = 1; grown = 1 }
            } while (grown)
            for (pid in ours) if (pid in parent) print pid
        }' /proc/[0-9]*/stat
}

# All that the next needs of /proc: who holds which socket, and every socket of TCP.
tl_sockets() {
    ls -l /proc/[0-9]*/fd 2>/dev/null
    tl_listening_sockets
}

# Those that listen come first in these files, and the rest is not asked for: to list it, the kernel goes through a
# table that grows with the machine's memory, however few the connections are.
tl_listening_sockets() {
    for tl_table in /proc/net/tcp /proc/net/tcp6; do
        [ ! -r "$tl_table" ] || while read -r tl_line; do
            case $tl_line in
                sl*) ;;
                *" 0A "*) printf '%s\n' "$tl_line" ;;
                *) break ;;
            esac
        done <"$tl_table"
    done
}

# Sockets that listen on TCP, one a line: ADDRESS PORT PID yes|no, the last saying whether PID is one of tl_pids.
# PID is 0 where it belongs to another account. Read from /proc: the same on every Linux, with nothing to install.
tl_listeners() {
    {
        printf '%s\n' "$tl_pids"
        tl_sockets
    } | tl_listening
}

# Which sockets the processes of tl_pids hold: to ask this of every process on the target takes long. /dev/null, because
# ls names no folder that is alone.
tl_own_sockets() {
    set -- /dev/null
    for tl_pid in $tl_pids; do
        set -- "$@" "/proc/$tl_pid/fd"
    done
    [ "$#" -eq 1 ] || ls -l "$@" 2>/dev/null
}

# The same of what tl_pids and tl_sockets gave, from standard input or files.
tl_listening() {
    awk '
        function hex(text,   i, value) {
            value = 0
            for (i = 1; i <= length(text); i++) value = value * 16 + index("0123456789ABCDEF", substr(text, i, 1)) - 1
            return value
        }
        function v4(text) {
            return hex(substr(text, 7, 2)) "." hex(substr(text, 5, 2)) "." \
                hex(substr(text, 3, 2)) "." hex(substr(text, 1, 2))
        }
        function v6(text,   word, part, out) {
            if (text == "00000000000000000000000000000000") return "[::]"
            if (text == "00000000000000000000000001000000") return "[::1]"
            if (substr(text, 1, 24) == "0000000000000000FFFF0000") return v4(substr(text, 25))
            out = ""
            for (word = 0; word < 4; word++) {
                part = substr(text, word * 8 + 1, 8)
                out = out ":" substr(part, 7, 2) substr(part, 5, 2) ":" substr(part, 3, 2) substr(part, 1, 2)
            }
            return "[" tolower(substr(out, 2)) "]"
        }
        /^[0-9]+$/ { ours[$1] = 1; next }
        /^\/proc\// { split($0, part, "/"); pid = part[3]; next }
        match($0, /socket:\[[0-9]+\]/) {
            inode = substr($0, RSTART + 8, RLENGTH - 9)
            if (!(inode in holder) || (pid in ours)) holder[inode] = pid
            next
        }
        $4 == "0A" && $10 ~ /^[0-9]+$/ {
            split($2, part, ":")
            address = length(part[1]) == 8 ? v4(part[1]) : v6(part[1])
            pid = ($10 in holder) ? holder[$10] : 0
            line = address " " hex(part[2]) " " pid " " ((pid in ours) ? "yes" : "no")
            if (!(line in said)) print line
            said[line] = 1
        }' "$@"
}
