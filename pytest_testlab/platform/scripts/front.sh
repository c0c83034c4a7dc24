# The front door: nginx as the account that we are, below tl_front.

tl_nginx() {
    PATH="$PATH:/usr/local/sbin:/usr/sbin:/sbin"
    command -v nginx >/dev/null 2>&1 || tl_fail "nginx isn't on the target; install it there: apt-get install nginx"
    # the folder is also the process's working directory, so that whoever cleans up can see whose nginx it is
    cd "$tl_front" || tl_fail "can't enter $tl_front"
    # without -e (since 1.19.5) an ordinary user's nginx complains of the log it was compiled for, and works
    if nginx -h 2>&1 | grep -q -- '-e filename'; then
        nginx -e logs/error.log -p "$tl_front" -c nginx.conf "$@"
    else
        nginx -p "$tl_front" -c nginx.conf "$@"
    fi
}

# Whether our nginx runs; tl_value is its process then.
tl_nginx_runs() {
    tl_read "$tl_front/nginx.pid" 0
    [ "$tl_value" != 0 ] && grep -q "nginx: master.*$tl_front" "/proc/$tl_value/cmdline" 2>/dev/null
}

# The workers of our nginx that still take requests, one a line.
tl_workers() {
    cat /proc/[0-9]*/stat 2>/dev/null | awk -v master="$1" '{
        pid = $1
        if (sub(/^.*\) /, "") && $2 == master && $1 != "Z") print pid
    }' | while read -r tl_worker; do
        grep -q 'shutting down' "/proc/$tl_worker/cmdline" 2>/dev/null || printf '%s\n' "$tl_worker"
    done
}

# Make nginx take its configuration anew, and wait until it leads host $1 as it should: `known` (the host's own vhost
# answers), or `unknown` (the front door's 421). nginx starts new workers first and lets the old ones answer for
# another 0.1 s, so the old ones must be seen to stop before an answer counts. The app itself is never asked.
tl_reload() {
    tl_said=$(tl_nginx -t -q 2>&1) || tl_fail "nginx refuses the configuration: $(printf '%s' "$tl_said" | tail -n 3)"
    tl_nginx_runs || tl_fail "nginx doesn't run any more: $(tail -n 3 "$tl_front/logs/error.log" 2>/dev/null)"
    tl_master=$tl_value
    tl_old=$(tl_workers "$tl_master")
    kill -HUP "$tl_master" || tl_fail "nginx can't be told to reload"
    tl_tries=0
    while tl_workers "$tl_master" | grep -qxF "${tl_old:-none}"; do
        tl_tries=$((tl_tries + 1))
        [ "$tl_tries" -lt 250 ] || tl_fail "nginx goes on with its old configuration"
        sleep 0.02
    done
    tl_in_force "$1" "$2"
}

tl_in_force() {
    tl_tries=0
    while [ "$tl_tries" -lt 200 ]; do
        tl_get "$tl_front/ask" "$tl_front_address" "$1" "/.well-known/testlab-front-door" || tl_fail "$tl_no_client"
        tl_read "$tl_front/ask" ""
        case $2$tl_value in
            known"status=204 "* | unknown"status=421 "*) return 0 ;;
        esac
        tl_tries=$((tl_tries + 1))
        sleep 0.02
    done
    tl_fail "nginx at $tl_front_address doesn't lead $1 as it was told to: it gave $tl_value"
}

tl_no_client="neither curl nor python3 is on the target; install one there: apt-get install curl"
