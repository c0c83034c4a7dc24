set -eu
# The password is new with each deploy, so the users' file is written at each start.
umask 077
printf 'username,password\nwriter,%s\n' "$WRITER_PASSWORD" > wiki/users.csv
exec node_modules/.bin/tiddlywiki wiki --listen host=127.0.0.1 "port=$PORT" \
  credentials=users.csv "readers=(anon)" writers=writer
