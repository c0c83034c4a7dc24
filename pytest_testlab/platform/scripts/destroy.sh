# Removes a deploy and proves that nothing of it is left: prints `left WHAT` for whatever is. Safe to repeat.
tl_signal_tree() {
    for tl_pid in $(tl_tree); do
        kill "-$1" "$tl_pid" 2>/dev/null
    done
}

# the supervisor first, and without asking: it must not restart what we stop
tl_read "$tl_state/supervisor" 0
if tl_tree | grep -qx "$tl_value"; then
    kill -KILL "$tl_value" 2>/dev/null
fi
tl_signal_tree TERM
tl_tries=0
while [ -n "$(tl_tree)" ]; do
    tl_tries=$((tl_tries + 1))
    [ "$tl_tries" -lt 50 ] || tl_signal_tree KILL
    [ "$tl_tries" -lt 100 ] || break
    sleep 0.1
done
for tl_pid in $(tl_tree); do
    printf 'left process %s\n' "$tl_pid"
done

if [ -e "$tl_vhost_file" ]; then
    rm -f "$tl_vhost_file"
    if tl_nginx_runs; then
        (tl_reload "$tl_host" unknown) 2>&1 >/dev/null | sed 's/^/left front door: /'
    fi
    [ ! -e "$tl_vhost_file" ] || printf 'left vhost %s\n' "$tl_vhost_file"
fi

if [ -n "$tl_database" ] && [ -f "$tl_root/postgresql/data/PG_VERSION" ]; then
    tl_pg_find
    if ! tl_said=$(tl_sql <<END 2>&1
DROP DATABASE IF EXISTS "$tl_database" WITH (FORCE);
DROP ROLE IF EXISTS "$tl_database";
END
    ); then
        printf 'left database %s: %s\n' "$tl_database" "$(printf '%s' "$tl_said" | tail -n 1)"
    fi
fi

# go's module cache and the like take away their owner's right to write
rm -rf "$tl_home" 2>/dev/null || { chmod -R u+rwX "$tl_home" 2>/dev/null; rm -rf "$tl_home" 2>/dev/null; }
[ ! -e "$tl_home" ] || printf 'left folder %s\n' "$tl_home"

if [ -n "$tl_port" ]; then
    tl_pids=
    tl_holder=$(tl_listeners | awk -v port="$tl_port" '$2 == port { print $3; exit }')
    # what is left of this deploy was named above; another deploy may have been given the port since
    if [ -n "$tl_holder" ] && ! grep -qz '^TESTLAB_DEPLOY=' "/proc/$tl_holder/environ" 2>/dev/null; then
        printf 'left listener on port %s, process %s\n' "$tl_port" "$tl_holder"
    fi
fi
