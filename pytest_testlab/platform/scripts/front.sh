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

# Make nginx take its configuration anew, and wait until it leads host $1 as it should: `known` (the host's own vhost
# answers), or `unknown` (the front door's 421). Old workers answer until they are told to stop, so this must be waited
# for; the app itself is never asked.
tl_reload() {
    tl_said=$(tl_nginx -t -q 2>&1) || tl_fail "nginx refuses the configuration: $(printf '%s' "$tl_said" | tail -n 3)"
    tl_nginx_runs || tl_fail "nginx doesn't run any more: $(tail -n 3 "$tl_front/logs/error.log" 2>/dev/null)"
    kill -HUP "$tl_value" || tl_fail "nginx can't be told to reload"
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
