set -eu
# A relative path would be looked for below /etc/ihatemoney.
export IHATEMONEY_SETTINGS_FILE_PATH="$PWD/settings.py"
exec venv/bin/gunicorn --bind "127.0.0.1:$PORT" --workers 1 --threads 2 ihatemoney.wsgi:application
