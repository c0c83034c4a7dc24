# Makes the app's own database and role, in the target's cluster, which is made and started where it isn't there yet.
tl_pg=$tl_root/postgresql
tl_pg_find
[ -n "$tl_pg_bin" ] || tl_lacks "postgresql isn't on the target; install it there: apt-get install postgresql"
tl_pg_account
if [ ! -f "$tl_pg/data/PG_VERSION" ]; then
    rm -rf "$tl_pg"
    # shellcheck disable=SC2015 # either of them may fail
    mkdir "$tl_pg" && (umask 077 && printf '%s\n' "$tl_admin_password" >"$tl_pg/password") ||
        tl_fail "can't write below $tl_root"
    [ -z "$tl_pg_user" ] || chown -R "$tl_pg_user" "$tl_pg"
    cd "$tl_pg" || tl_fail "can't enter $tl_pg"
    for tl_locale in C.UTF-8 C; do
        tl_as "$tl_pg_bin/initdb" -D "$tl_pg/data" -U testlab_admin -E UTF8 --locale="$tl_locale" \
            -A scram-sha-256 --pwfile="$tl_pg/password" -N >"$tl_pg/initdb.log" 2>&1 && break
        rm -rf "$tl_pg/data"
    done
    [ -f "$tl_pg/data/PG_VERSION" ] || tl_fail "initdb failed: $(tail -n 3 "$tl_pg/initdb.log")"
    # a throw-away server: no sync to disk; on TCP only, because a socket's path may be too long
    cat >>"$tl_pg/data/postgresql.conf" <<END
listen_addresses = '127.0.0.1'
port = $tl_addon_port
unix_socket_directories = ''
max_connections = 60
shared_buffers = 16MB
fsync = off
synchronous_commit = off
full_page_writes = off
log_statement = none
log_min_error_statement = panic
END
fi
cd "$tl_pg" || tl_fail "can't enter $tl_pg"
if ! tl_as "$tl_pg_bin/pg_ctl" -D "$tl_pg/data" status >/dev/null 2>&1; then
    # after a killed postmaster its remains may take a second or two to go away
    for tl_pause in 1 1 0; do
        tl_as "$tl_pg_bin/pg_ctl" -D "$tl_pg/data" -l "$tl_pg/server.log" -w -t 20 start >"$tl_pg/start.log" 2>&1 && break
        [ "$tl_pause" != 0 ] || tl_fail "postgres doesn't start: $(tail -n 3 "$tl_pg/server.log" 2>/dev/null)"
        sleep "$tl_pause"
    done
fi
tl_said=$(tl_sql <<END 2>&1
CREATE ROLE "$tl_database" LOGIN PASSWORD '$tl_password';
CREATE DATABASE "$tl_database" OWNER "$tl_database";
END
) || tl_fail "can't make the database: $(printf '%s' "$tl_said" | tail -n 3)"
tl_log "addon postgresql: database $tl_database at 127.0.0.1:$tl_addon_port"
