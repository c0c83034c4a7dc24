# Makes a deploy's own folders: app comes by upload, home is the app's HOME, logs and state are the platform's.
umask 022
[ -d "$tl_root/apps" ] || tl_fail "the platform isn't installed below $tl_root"
mkdir "$tl_home" "$tl_home/home" "$tl_logs" "$tl_state" || tl_fail "can't make $tl_home"
chmod 700 "$tl_state" "$tl_home/home"
: >"$tl_logs/deploy.log"
(umask 077 && printf '%s\n' "$tl_env" >"$tl_state/env") || tl_fail "can't write below $tl_state"
# shellcheck disable=SC2015 # either of them may fail
printf '%s\n' "$tl_port" >"$tl_state/port" && printf '%s\n' "$tl_command" >"$tl_state/command" || tl_fail "can't write below $tl_state"
[ -z "$tl_replaced" ] || tl_log "replaces $tl_replaced, which an earlier run left on this server"
tl_log "folder $tl_home"
