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
