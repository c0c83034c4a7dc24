# The target's PostgreSQL binaries, and who may run them.

# tl_pg_bin: the folder of the newest server binaries, empty where there are none.
tl_pg_find() {
    tl_pg_bin=
    # shellcheck disable=SC2012 # these names hold nothing odd, and only ls and sort know which version is newer
    for tl_dir in $(ls -d /usr/lib/postgresql/*/bin /usr/pgsql-*/bin 2>/dev/null | sort -t/ -k5 -V); do
        [ -x "$tl_dir/postgres" ] && [ -x "$tl_dir/initdb" ] && tl_pg_bin=$tl_dir
    done
    if [ -z "$tl_pg_bin" ] && tl_found=$(command -v postgres) && [ -x "${tl_found%/*}/initdb" ]; then
        tl_pg_bin=${tl_found%/*}
    fi
    return 0
}

# tl_pg_user: postgres refuses to run as root, so root lends it an account; empty for everybody else.
tl_pg_account() {
    tl_pg_user=
    [ "$(id -u)" != 0 ] || for tl_name in nobody postgres; do
        ! id "$tl_name" >/dev/null 2>&1 || tl_pg_user=$tl_name
    done
}

tl_as() {
    if [ -z "$tl_pg_user" ]; then
        "$@"
    elif command -v runuser >/dev/null 2>&1; then
        runuser -u "$tl_pg_user" -- "$@"
    else
        setpriv --reuid="$tl_pg_user" --regid="$(id -g "$tl_pg_user")" --clear-groups "$@"
    fi
}

# SQL from standard input, as the cluster's own administrator.
tl_sql() {
    PGPASSWORD=$(cat "$tl_root/postgresql/password") PGCONNECT_TIMEOUT=5 "$tl_pg_bin/psql" -X -q -A -t \
        -v ON_ERROR_STOP=1 -h 127.0.0.1 -p "$tl_addon_port" -U testlab_admin -d postgres
}
