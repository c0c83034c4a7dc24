# Runs one build command in the app's folder and environment; its output goes to logs/build.log, of which the last
# 10 to 20 MB are kept. Prints `exit=CODE`. Doesn't wait for what the command left running in the background.
tl_pipe=$tl_state/build.$$
mkfifo "$tl_pipe" || tl_fail "can't make a pipe below $tl_state"
printf '$ %s\n' "$tl_command" >>"$tl_logs/build.log"
(
    while :; do
        tl_size=$(wc -c <"$tl_logs/build.log")
        [ "$tl_size" -lt 10485760 ] || { mv -f "$tl_logs/build.log" "$tl_logs/build.log.1" && tl_size=0; }
        dd bs=65536 iflag=count_bytes count=$((10485760 - tl_size)) oflag=append conv=notrunc \
            of="$tl_logs/build.log" 2>/dev/null || break
        [ "$(wc -c <"$tl_logs/build.log")" -ge 10485760 ] || break
    done
    exec cat >/dev/null
) <"$tl_pipe" >/dev/null 2>&1 &
tl_logger=$!
(
    cd "$tl_home/app" || exit 126
    # shellcheck source=/dev/null
    . "$tl_state/env"
    exec /bin/sh -c "$tl_command"
) </dev/null >"$tl_pipe" 2>&1
tl_code=$?
rm -f "$tl_pipe"
tl_tries=0
while kill -0 "$tl_logger" 2>/dev/null && [ "$tl_tries" -lt 25 ]; do
    tl_tries=$((tl_tries + 1))
    sleep 0.02
done
printf '[exit code %s]\n' "$tl_code" >>"$tl_logs/build.log"
printf 'exit=%s\n' "$tl_code"
