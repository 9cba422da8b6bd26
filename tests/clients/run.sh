#!/bin/sh
# Runs real PagerDuty clients against a running gateway.
#
#   tests/clients/run.sh [path of the dutygate binary] [pytest arguments…]
#
# Without a path it takes $DUTYGATE_BIN, else target/debug/dutygate. What is missing is installed
# (Debian packages, and Python packages into .venv); nothing is skipped.
set -eu

here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)
root=$(CDPATH='' cd -- "$here/../.." && pwd)
venv=$root/.venv
requirements=$here/requirements.txt

binary=${DUTYGATE_BIN:-$root/target/debug/dutygate}
case ${1:-} in
'' | -*) ;;
*)
    binary=$1
    shift
    ;;
esac
if [ ! -x "$binary" ]; then
    echo "error: no gateway binary at $binary; run 'cargo build' first" >&2
    exit 1
fi
DUTYGATE_BIN=$(realpath "$binary")
export DUTYGATE_BIN

"$here/ensure_package.sh" curl command -v curl
"$here/ensure_package.sh" python3 command -v python3
"$here/ensure_package.sh" prometheus-alertmanager command -v prometheus-alertmanager

if ! python3 -c 'import sys; sys.exit(sys.version_info < (3, 11))'; then
    echo "error: ElastAlert 2 needs Python 3.11 or newer, this is $(python3 --version)" >&2
    exit 1
fi

# A virtual environment knows its own path and its interpreter, so both belong to what it was made from.
wanted=$({
    echo "$venv"
    python3 -c 'import sys; print(sys.version, sys.base_prefix)'
    cat "$requirements"
} | sha256sum)
stamp=$venv/.clients-stamp
if [ "$(cat "$stamp" 2>/dev/null)" != "$wanted" ]; then
    # Debian keeps ensurepip, which venv needs, in a package of its own.
    "$here/ensure_package.sh" python3-venv python3 -c 'import ensurepip'
    echo "installing Python packages into .venv (once, about a minute)"
    python3 -m venv --clear "$venv"
    "$venv/bin/python" -m pip install --quiet --disable-pip-version-check --requirement "$requirements"
    echo "$wanted" >"$stamp"
fi

echo "running real clients against $DUTYGATE_BIN"
cd "$here"
exec "$venv/bin/python" -m pytest "$@"
