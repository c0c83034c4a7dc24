# Makes the working layout and starts the front door. Prints KEY=VALUE lines, and `app NAME-NONCE PORT` for each app
# that is there already. Safe to repeat.
umask 022
mkdir -p "$tl_root/apps" "$tl_root/platform" "$tl_front/apps" "$tl_front/logs" "$tl_front/tmp" ||
    tl_fail "can't make the working folders below $tl_root"
# tmp: where nginx was started by root, its workers must get through to folders of their own there
chmod 700 "$tl_front/logs"
chmod 711 "$tl_front/tmp"
# shellcheck disable=SC2015 # either of them may fail
printf '%s\n' "$tl_supervise" >"$tl_root/platform/supervise.sh" &&
    printf '%s\n' "$tl_nginx_conf" >"$tl_front/nginx.conf" || tl_fail "can't write below $tl_root"
if [ -f /etc/nginx/mime.types ]; then
    cp /etc/nginx/mime.types "$tl_front/mime.types"
else
    printf 'types { text/html html; text/css css; application/javascript js; image/svg+xml svg; }\n' \
        >"$tl_front/mime.types"
fi
tl_version=$(tl_nginx -v 2>&1) || tl_fail "$tl_version"
if tl_nginx_runs; then
    tl_reload "nobody-$$.testlab.internal" unknown
else
    tl_said=$(tl_nginx 2>&1 </dev/null) || tl_fail "front door: nginx doesn't start: $(printf '%s' "$tl_said" | tail -n 3)"
    tl_in_force "nobody-$$.testlab.internal" unknown
fi
printf 'nginx=%s\n' "${tl_version##*/}"
for tl_app in "$tl_root"/apps/*/; do
    [ -d "$tl_app/state" ] || continue
    tl_app=${tl_app%/}
    tl_read "$tl_app/state/port" ""
    printf 'app %s %s\n' "${tl_app##*/}" "$tl_value"
done
