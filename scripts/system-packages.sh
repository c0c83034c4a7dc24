#!/bin/sh
# system-packages.sh [test|e2e]: sees to the system packages that the lab needs, and to those that only its tests use:
# with `test` those that need no root, with `e2e` those that do, which do nothing without them.
# Installs Debian's where root or sudo is there, else says what to do. Without the tests' own, some of them are skipped.
set -eu
PATH=$PATH:/usr/sbin:/sbin

missing= useful=
need() { # need PACKAGE TEST...
    package=$1
    shift
    "$@" >/dev/null 2>&1 || missing="$missing $package"
}
use() { # use PACKAGE TEST...
    package=$1
    shift
    "$@" >/dev/null 2>&1 || useful="$useful $package"
}
has_postgres() { # Debian keeps it off PATH
    for server in "$(command -v postgres)" /usr/lib/postgresql/*/bin/postgres /opt/homebrew/bin/postgres; do
        [ ! -x "$server" ] || return 0
    done
    return 1
}

need postgresql has_postgres
need nginx-light command -v nginx
need git command -v git
need iproute2 command -v ss
need curl command -v curl
need python3-venv "${PYTHON:-python3}" -c 'import ensurepip, venv'
if [ "${1:-}" = test ]; then
    use chromium command -v chromium
    use openssh-server command -v sshd
    use npm command -v npm
    use hcloud-cli command -v hcloud
    use faketime command -v faketime
    # Playwright's own Node.js wants it.
    use libatomic1 "${PYTHON:-python3}" -c 'import ctypes; ctypes.CDLL("libatomic.so.1")'
fi

if [ "${1:-}" = e2e ]; then
    need systemd-container command -v systemd-nspawn
    need debootstrap command -v debootstrap
    need debian-archive-keyring test -e /usr/share/keyrings/debian-archive-keyring.gpg
    need nftables command -v nft
fi

wanted=$missing$useful
[ -n "$wanted" ] || exit 0
if ! command -v apt-get >/dev/null; then
    how="please install$wanted (Debian's names)"
elif [ "$(id -u)" = 0 ]; then
    how= as_root=
elif command -v sudo >/dev/null && sudo -n true 2>/dev/null; then
    how= as_root="sudo -n"
else
    how="please run:  sudo apt-get install --no-install-recommends$wanted"
fi
if [ -n "$how" ] && [ -n "$missing" ]; then
    echo "before this can go on, $how" >&2
    exit 1
elif [ -n "$how" ]; then
    echo "some tests will be skipped; for all of them, $how" >&2
    exit 0
fi
echo "installing Debian's packages:$wanted"
export DEBIAN_FRONTEND=noninteractive
$as_root apt-get update -qq
# shellcheck disable=SC2086 # one word a package
$as_root apt-get install -y -qq --no-install-recommends $wanted >/dev/null
