# Prints what is known of a deploy, a fact a line, each as WORD KEY=VALUE…; all that may hang is asked at once, for 2 s.
umask 077
tl_tmp=${testlab_scratch:-}
if [ -z "$tl_tmp" ]; then
    tl_folder=$(mktemp -d) || absent "no temporary folder can be made on the target"
    trap 'rm -rf "$tl_folder"' EXIT
    tl_tmp=$tl_folder/probe
fi

tl_quoted() {
    printf '"%s"' "$(printf '%s' "$1" | tr '\000-\037' ' ' | cut -c 1-400 | sed 's/[\\"]/\\&/g')"
}

# The front door and the app's own PORT needn't be looked for, so they are asked while the rest is.
set -- "$tl_tmp.front" "$tl_front_address" "$tl_host" "$tl_path" \
    "$tl_tmp.unknown" "$tl_front_address" "$tl_unknown_host" "$tl_path"
[ -z "$tl_port" ] || set -- "$@" "$tl_tmp.inside.0" "127.0.0.1:$tl_port" "$tl_host" "$tl_path"
tl_get_all "$@" &
tl_listening_sockets >"$tl_tmp.tcp" &
tl_looks=$!
tl_pids=$(tl_tree)
tl_own_sockets >"$tl_tmp.sockets"
wait "$tl_looks"
printf '%s\n' "$tl_pids" | tl_listening - "$tl_tmp.sockets" "$tl_tmp.tcp" >"$tl_tmp.listeners"
while read -r tl_address tl_number tl_pid tl_is; do
    if [ "$tl_number $tl_pid" = "$tl_port 0" ]; then
        # a stranger's: who?
        { printf '%s\n' "$tl_pids"; tl_sockets; } | tl_listening >"$tl_tmp.all"
        mv "$tl_tmp.all" "$tl_tmp.listeners"
        break
    fi
done <"$tl_tmp.listeners"

# Whether a process is one of tl_pids.
tl_ours() {
    case "
$tl_pids
" in
        *"
${1:-none}
"*) return 0 ;;
    esac
    return 1
}

tl_process() {
    tl_read "$tl_state/pid" ""; tl_pid=$tl_value
    tl_read "$tl_state/starts" 0; tl_starts=$tl_value
    tl_read "$tl_state/exit" ""; tl_exit=$tl_value
    tl_read "$tl_state/state" absent; tl_is=$tl_value
    tl_read "$tl_state/supervisor" 0; tl_supervisor=$tl_value
    if [ "$tl_is" != absent ]; then
        if tl_ours "$tl_pid"; then
            tl_is=running
        elif [ "$tl_is" != exited ] && tl_ours "$tl_supervisor"; then
            tl_is=restarting
        else
            tl_is=exited
        fi
    fi
    printf 'process state=%s' "$tl_is"
    [ "$tl_is" != running ] || printf ' pid=%s' "$tl_pid"
    printf ' starts=%s' "$tl_starts"
    [ -z "$tl_exit" ] || printf ' exit=%s' "$tl_exit"
    printf '\n'
}

# The addresses to ask inside, one a line: `NUMBER ADDRESS yes|no`, the last saying whether the app was told to use it.
tl_inside_addresses() {
    [ -z "$tl_port" ] || printf '0 127.0.0.1:%s yes\n' "$tl_port"
    tl_seen=" 127.0.0.1:$tl_port "
    tl_number=0
    while read -r tl_address tl_listened tl_pid tl_is; do
        case $tl_address in "0.0.0.0" | "[::]") tl_address=127.0.0.1 ;; esac
        tl_address=$tl_address:$tl_listened
        case $tl_is$tl_seen in no* | *" $tl_address "*) continue ;; esac
        [ "$tl_number" -lt 6 ] || break
        tl_number=$((tl_number + 1))
        tl_seen="$tl_seen$tl_address "
        printf '%s %s no\n' "$tl_number" "$tl_address"
    done <"$tl_tmp.listeners"
}

# TCP alone, for an addon that we can't speak with: prints what happened, empty when it answers.
tl_connect() {
    if command -v bash >/dev/null 2>&1 && command -v timeout >/dev/null 2>&1; then
        # shellcheck disable=SC2016,SC2069 # bash is to expand them; and only its complaint is wanted
        timeout 2 bash -c 'exec 3<>"/dev/tcp/$0/$1"' "$1" "$2" 2>&1 >/dev/null && return 0
        [ "$?" -eq 124 ] && echo "no connection within 2 s"
    elif command -v python3 >/dev/null 2>&1; then
        python3 -I -c 'import socket, sys; socket.create_connection((sys.argv[1], int(sys.argv[2])), 2)' \
            "$1" "$2" 2>&1 | tail -n 1
    else
        return 1
    fi
    return 0
}

# The line of the addon postgresql, asked at the address in the app's environment, as the app would log in.
tl_postgresql() {
    tl_pg_find
    if [ -n "$tl_addon_user" ] && [ -n "$tl_pg_bin" ] && [ -x "$tl_pg_bin/psql" ]; then
        tl_said=$(echo 'SELECT 1' | timeout 3 "$tl_pg_bin/psql" -X -q -A -t 2>&1) && tl_answers=yes || tl_answers=no
        [ -n "$tl_said" ] || tl_said="no answer within 3 s"
    else
        tl_said=$(tl_connect "$tl_addon_host" "$tl_addon_port") || {
            echo 'missing what=addon why="no psql, bash or python3 on the target"'
            return
        }
        [ -z "$tl_said" ] && tl_answers=yes || tl_answers=no
    fi
    [ "$tl_answers" = no ] || tl_said="it answers"
    printf 'addon name=postgresql address='
    tl_quoted "$tl_addon_host:$tl_addon_port"
    printf ' answers=%s say=' "$tl_answers"
    tl_quoted "$tl_said"
    printf '\n'
}

# --- ask everything at once ---
tl_inside_addresses >"$tl_tmp.inside"
while read -r tl_number tl_address tl_declared; do
    [ "$tl_number" = 0 ] || tl_get "$tl_tmp.inside.$tl_number" "$tl_address" "$tl_host" "$tl_path" &
done <"$tl_tmp.inside"
if [ -n "$tl_addon_host" ]; then
    # PG… stay within this subshell; never an argument, which anyone could read
    (
        export PGHOST="$tl_addon_host" PGPORT="$tl_addon_port" PGUSER="$tl_addon_user"
        export PGPASSWORD="$tl_addon_password" PGDATABASE="$tl_addon_database" PGCONNECT_TIMEOUT=2
        tl_postgresql
    ) >"$tl_tmp.addon" 2>&1 &
fi
wait

# --- say it ---
tl_process
tl_count=0
while read -r tl_address tl_number tl_pid tl_is && [ "$tl_count" -lt 20 ]; do
    [ "$tl_is" = yes ] || [ "$tl_number" = "$tl_port" ] || continue
    tl_count=$((tl_count + 1))
    [ "$tl_pid" = 0 ] && tl_pid= || tl_pid=" pid=$tl_pid"
    printf 'listener address=%s:%s%s descends=%s\n' "$tl_address" "$tl_number" "$tl_pid" "$tl_is"
done <"$tl_tmp.listeners"
if [ -f "$tl_tmp.front" ]; then
    while read -r tl_number tl_address tl_declared; do
        tl_read "$tl_tmp.inside.$tl_number" "error=other"
        printf 'inside address=%s declared=%s %s\n' "$tl_address" "$tl_declared" "$tl_value"
    done <"$tl_tmp.inside"
    tl_read "$tl_tmp.front" "error=other"
    tl_front_said=$tl_value
    printf 'front-door address=%s %s\n' "$tl_front_address" "$tl_front_said"
    tl_read "$tl_tmp.unknown" "error=other"
    # the front door's own words are the one right answer for a host of no app
    tl_same=no
    case $tl_value in
        "status=421 "*) grep -qx 'no such app here' "$tl_tmp.unknown.body" || tl_same=${tl_front_said%% *} ;;
        status=*) tl_same=${tl_front_said%% *} ;;
    esac
    [ "$tl_same" = no ] || [ "$tl_same" != "${tl_value%% *}" ] || tl_same=yes
    [ "$tl_same" = yes ] || tl_same=no
    printf 'unknown-host address=%s %s same=%s\n' "$tl_front_address" "$tl_value" "$tl_same"
else
    for tl_what in inside front-door unknown-host; do
        printf 'missing what=%s why="no curl or python3 on the target"\n' "$tl_what"
    done
fi
[ ! -f "$tl_tmp.addon" ] || cat "$tl_tmp.addon"
