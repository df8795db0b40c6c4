#!/bin/sh
# Sees to it that there is a Prometheus for the tests, with promtool: unpacks Debian's package below .venv. It is not
# installed, since that would start a service; so nothing runs, and it takes no privileges. Elsewhere it says what to do
# and ends well, as everything else can be set up without; the tests that need it then fail. See prometheus.py.
set -eu
root=$(cd "$(dirname "$0")/../.." && pwd)
folder=$root/.venv/prometheus
has() { [ -x "$folder/usr/bin/$1" ] || command -v "$1" >/dev/null; }
if has prometheus && has promtool; then exit 0; fi
if command -v apt-get >/dev/null && command -v dpkg-deb >/dev/null; then
    mkdir -p "$folder"
    cd "$folder"
    rm -f ./*.deb
    # The lists may be missing or old: then the package is not found, and only root can have them anew.
    apt-get download --quiet=2 prometheus 2>/dev/null ||
        { [ "$(id -u)" = 0 ] && apt-get update --quiet=2 && apt-get download --quiet=2 prometheus; } ||
        true
    if [ -n "$(find . -name '*.deb')" ]; then
        dpkg-deb --fsys-tarfile ./*.deb | tar -x ./usr/bin/prometheus ./usr/bin/promtool
        rm -f ./*.deb
        exit 0
    fi
fi
echo "There is no Prometheus here, and some tests need one. Install it by hand, on Debian by:" >&2
echo "    sudo apt-get update && sudo apt-get install --no-install-recommends prometheus" >&2
echo "or have prometheus and promtool in PATH. Then run the tests again." >&2
