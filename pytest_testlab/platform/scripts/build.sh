# Runs one build command in the app's folder and environment; its output goes to logs/build.log and build.log.1,
# bounded. Prints `exit=CODE`. Doesn't wait for what the command left running in the background.
tl_pipe=$tl_state/build.$$
mkfifo "$tl_pipe" || tl_fail "can't make a pipe below $tl_state"
[ -e "$tl_logs/build.log" ] || [ -L "$tl_logs/build.log" ] || : >"$tl_logs/build.log"
tl_append "$tl_logs/build.log" "$ $tl_command"
tl_bounded_log "$tl_logs/build.log" <"$tl_pipe" >/dev/null 2>&1 &
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
tl_append "$tl_logs/build.log" "[exit code $tl_code]"
printf 'exit=%s\n' "$tl_code"
