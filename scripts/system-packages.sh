#!/bin/sh
# Sees to the system packages that the lab needs: installs Debian's where root or sudo is there, else says what to do.
set -eu
PATH=$PATH:/usr/sbin:/sbin

missing=
need() { # need PACKAGE TEST...
    package=$1
    shift
    "$@" >/dev/null 2>&1 || missing="$missing $package"
}
has_postgres() { command -v postgres || ls /usr/lib/postgresql/*/bin/postgres /opt/homebrew/bin/postgres; }

need postgresql has_postgres
need nginx-light command -v nginx
need git command -v git
need iproute2 command -v ss
need curl command -v curl
need python3-venv "${PYTHON:-python3}" -c 'import ensurepip, venv'
[ "${TESTLAB_WITH_BROWSER:-}" = "" ] || need chromium command -v chromium
[ "${TESTLAB_WITH_SSHD:-}" = "" ] || need openssh-server command -v sshd

[ -n "$missing" ] || exit 0
if ! command -v apt-get >/dev/null; then
    echo "please install first, then try again:$missing (Debian's names)" >&2
    exit 1
elif [ "$(id -u)" = 0 ]; then
    as_root=
elif command -v sudo >/dev/null && sudo -n true 2>/dev/null; then
    as_root="sudo -n"
else
    echo "please run this first, then try again:  sudo apt-get install --no-install-recommends$missing" >&2
    exit 1
fi
echo "installing Debian's packages:$missing"
export DEBIAN_FRONTEND=noninteractive
$as_root apt-get update -qq
# shellcheck disable=SC2086 # one word a package
$as_root apt-get install -y -qq --no-install-recommends $missing >/dev/null
