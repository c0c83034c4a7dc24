set -eu
# The password is new with each deploy, so the accounts are written at each start.
umask 077
printf '[accounts]\n  guest: %s\n' "$GUEST_PASSWORD" > accounts.conf
exec venv/bin/copyparty -c accounts.conf -c party.conf -i 127.0.0.1 -p "$PORT"
