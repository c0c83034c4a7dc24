set -eu
# Kinto reads each setting from the environment, as KINTO_<NAME>, before it reads kinto.ini.
export KINTO_STORAGE_URL="$DATABASE_URL" KINTO_CACHE_URL="$DATABASE_URL" KINTO_PERMISSION_URL="$DATABASE_URL"
venv/bin/kinto migrate --ini kinto.ini
exec venv/bin/kinto start --ini kinto.ini --port "$PORT"
