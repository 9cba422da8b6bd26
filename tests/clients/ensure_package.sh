#!/bin/sh
# Makes sure that a check passes, by installing a Debian package when it does not.
#
#   ensure_package.sh <package> <check…>        for example: ensure_package.sh curl command -v curl
#
# Daemons that come in a package are not started: the tests run their own, on their own ports.
set -eu

package=$1
shift

if "$@" >/dev/null 2>&1; then
    exit 0
fi

if [ "$(id -u)" -eq 0 ]; then
    as_root=
elif command -v sudo >/dev/null 2>&1 && sudo -n true 2>/dev/null; then
    as_root=sudo
else
    echo "error: installing what is missing needs root; run: apt-get install $package" >&2
    exit 1
fi
if ! command -v apt-get >/dev/null 2>&1; then
    echo "error: there is no apt-get here; install what Debian calls '$package'" >&2
    exit 1
fi

log=$(mktemp)
policy=/usr/sbin/policy-rc.d
own_policy=
trap 'rm -f "$log"; [ -z "$own_policy" ] || $as_root rm -f "$policy"' EXIT
trap 'exit 130' INT TERM

# dpkg asks this file whether it may start a service; 101 is "no". One that is there already is
# somebody's decision and stays.
if [ ! -e "$policy" ]; then
    own_policy=yes
    printf '#!/bin/sh\nexit 101\n' | $as_root tee "$policy" >/dev/null
    $as_root chmod 755 "$policy"
fi

echo "installing the Debian package $package"
if ! {
    $as_root apt-get update &&
        $as_root env DEBIAN_FRONTEND=noninteractive apt-get install --yes --no-install-recommends "$package"
} >"$log" 2>&1; then
    tail -n 30 "$log" >&2
    echo "error: could not install $package" >&2
    exit 1
fi

if ! "$@" >/dev/null 2>&1; then
    echo "error: $package is installed, but this still fails: $*" >&2
    exit 1
fi
