# HTTP from the target itself, by curl or else python3.

# tl_get OUT ADDRESS HOST PATH: asks once, for at most 2 s. OUT gets `status=N seconds=S` or `error=WORD seconds=S`,
# OUT.body the first 64 KiB of the answer. Returns 1 where the target has no HTTP client.
tl_get() {
    : >"$1.body"
    if command -v curl >/dev/null 2>&1; then
        {
            curl -q -s -g --path-as-is --noproxy '*' -m 2 -H "Host: $3" \
                -w '%{stderr}%{http_code} %{time_total}' "http://$2$4"
            printf ' %s\n' "$?" >&2
        } 2>"$1.raw" | head -c 65536 >"$1.body"
    elif command -v python3 >/dev/null 2>&1; then
        python3 -I -c "$tl_get_py" "$2" "$3" "$4" "$1.body" >"$1.raw"
    else
        return 1
    fi
    awk '{
        seconds = $2; sub(/,/, ".", seconds); seconds = sprintf("%.3f", seconds)
        # 23: we took all of the body that we wanted
        if ($1 != "000" && ($3 == 0 || $3 == 23)) print "status=" $1 " seconds=" seconds
        else print "error=" ($3 == 7 ? "refused" : $3 == 28 ? "timeout" : \
            ($3 == 52 || $3 == 56 || $3 == 18) ? "reset" : "other") " seconds=" seconds
    }' "$1.raw" >"$1"
}

# tl_get_all [OUT ADDRESS HOST PATH]…: asks as tl_get does, all at once: in one process, because to start curl costs more
# than to ask. Where curl is too old for it (before 7.75), or absent, in a process each.
tl_get_all() {
    tl_raw=$1.raw
    : >"$tl_raw"
    ! command -v curl >/dev/null 2>&1 || (tl_curl_all "$@") 2>"$tl_raw"
    while [ "$#" -gt 0 ]; do
        tl_said=
        while read -r tl_word tl_label tl_status tl_seconds tl_code; do
            [ "$tl_word $tl_label" != "asked $#" ] || tl_answer "$tl_status" "$tl_seconds" "$tl_code"
        done <"$tl_raw"
        if [ -n "$tl_said" ]; then
            printf '%s\n' "$tl_said" >"$1"
        else
            tl_get "$1" "$2" "$3" "$4" &
        fi
        shift 4
    done
    wait
}

# Each is known by how many of the arguments were left when its turn came.
tl_curl_all() {
    tl_left=$#
    while [ "$tl_left" -gt 0 ]; do
        : >"$1.body"
        set -- "$@" -s -g --path-as-is --noproxy '*' -m 2 -H "Host: $3" -o "$1.body" \
            -w "%{stderr}\\nasked $tl_left %{http_code} %{time_total} %{exitcode}\\n" "http://$2$4"
        shift 4
        tl_left=$((tl_left - 4))
        [ "$tl_left" -eq 0 ] || set -- "$@" --next
    done
    # some 64 KiB of an answer, whatever is sent: beyond that curl can't write (23) instead of being killed
    trap '' XFSZ
    ulimit -f 128
    exec curl -q --no-progress-meter --parallel --parallel-immediate "$@"
}

# tl_said: what OUT gets for curl's http_code, time_total and exit code; left as it is when they make no sense.
tl_answer() {
    case $1$3 in "" | *[!0-9]*) return ;; esac
    [ -n "$3" ] || return 0
    tl_fraction=${2#*[.,]}000
    tl_time="seconds=${2%%[.,]*}.${tl_fraction%"${tl_fraction#???}"}"
    case $1:$3 in
        000:0 | 000:23) tl_said="error=other $tl_time" ;;
        *:0 | *:23) tl_said="status=$1 $tl_time" ;;
        *:7) tl_said="error=refused $tl_time" ;;
        *:28) tl_said="error=timeout $tl_time" ;;
        *:18 | *:52 | *:56) tl_said="error=reset $tl_time" ;;
        *) tl_said="error=other $tl_time" ;;
    esac
}
