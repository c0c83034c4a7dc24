set -eu
# The password is new with each deploy, so the users' file is written at each start.
umask 077
venv/bin/python - > users <<'EOF'
import os
from passlib.apache import HtpasswdFile
users = HtpasswdFile(default_scheme="sha256_crypt")
users.set_password("uploader", os.environ["UPLOAD_PASSWORD"])
print(users.to_string().decode(), end="")
EOF
exec venv/bin/pypi-server run --interface 127.0.0.1 --port "$PORT" --disable-fallback \
  --authenticate update --passwords users packages
