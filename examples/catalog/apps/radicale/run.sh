set -eu
# The password is new with each deploy, so the users' file is written at each start.
umask 077
printf 'alice:%s\n' "$CALENDAR_PASSWORD" > users
exec venv/bin/python -m radicale --config radicale.conf --server-hosts "127.0.0.1:$PORT"
