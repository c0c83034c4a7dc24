# supervise.sh HOME: keeps the app of the deploy below HOME running. Run in a session of its own.
#
# State files, each one line, replaced whole: `supervisor` (our process), `pid` (the app's), `starts`, `exit` (code of
# the last end), `state` (running, restarting, exited). The app is started at most 5 times, with a growing pause.
# Its output goes to logs/app.log and app.log.1, by tl_bounded_log of log.sh, which stands before this script.
tl_home=$1
tl_state=$tl_home/state
tl_log=$tl_home/logs/app.log

put() {
    printf '%s\n' "$2" >"$tl_state/$1.new" && mv -f "$tl_state/$1.new" "$tl_state/$1"
}

keep_running() {
    starts=0
    for pause in 0.2 0.4 0.8 1.6 0; do
        starts=$((starts + 1))
        put starts "$starts"
        (
            # the app's environment may hold any PATH; from here on only the app uses it
            cd "$tl_home/app" || exit 126
            tl_command=$(cat "$tl_state/command")
            # shellcheck source=/dev/null
            . "$tl_state/env"
            exec /bin/sh -c "$tl_command"
        ) </dev/null &
        pid=$!
        put pid "$pid"
        put state running
        wait "$pid"
        code=$?
        put exit "$code"
        [ "$pause" = 0 ] && break
        put state restarting
        sleep "$pause"
    done
    put state exited
}

# through a named pipe and not `|`, so that this very process is the one that restarts the app
mkfifo "$tl_state/log" || exit 1
tl_bounded_log "$tl_log" <"$tl_state/log" >/dev/null 2>&1 &
exec >"$tl_state/log" 2>&1
rm -f "$tl_state/log"
put supervisor "$$"
put starts 0
keep_running
