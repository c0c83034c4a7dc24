# Starts the app under its supervisor (unless it is a static site) and opens its front door.
if [ -n "$tl_port" ]; then
    tl_pids=$(tl_tree)
    tl_taken=$(tl_listeners | awk -v port="$tl_port" '$2 == port && $4 == "no" { print $3; exit }')
    [ -z "$tl_taken" ] || tl_fail "start: port $tl_port is taken by process $tl_taken, which isn't of this deploy"
    # a session of its own, and the marker by which all that comes of it is known
    TESTLAB_DEPLOY=$tl_nonce setsid sh "$tl_root/platform/supervise.sh" "$tl_home" </dev/null >/dev/null 2>&1 &
    tl_tries=0
    until [ -f "$tl_state/pid" ]; do
        tl_tries=$((tl_tries + 1))
        [ "$tl_tries" -lt 250 ] || tl_fail "start: the supervisor doesn't start"
        sleep 0.02
    done
    tl_log "started, port $tl_port"
fi
if [ -n "$tl_static" ] && [ ! -d "$tl_home/app/$tl_static" ]; then
    tl_fail "start: the folder $tl_static, which is to be served, isn't there after the build"
fi
for tl_file in "$tl_logs"/nginx-error.log "$tl_logs"/nginx-access.log; do
    # a build may have put a pipe there, on which nginx would wait for ever
    if [ -L "$tl_file" ] || { [ -e "$tl_file" ] && [ ! -f "$tl_file" ]; }; then
        rm -rf "$tl_file"
    fi
done
printf '%s\n' "$tl_vhost" >"$tl_vhost_file" || tl_fail "front door: can't write $tl_vhost_file"
(tl_reload "$tl_host" known) 2>"$tl_state/said" || {
    rm -f "$tl_vhost_file"
    tl_fail "front door: $(cat "$tl_state/said")"
}
tl_log "front door open for $tl_host"
