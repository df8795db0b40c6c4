#!/bin/sh
# Sees to it that there is a Chromium for the tests in tests/interop: installs Debian's package where we may. Elsewhere it
# says what to do and ends well, as everything else can be set up without; the tests that need it then fail.
set -eu
for name in "${CHROMIUM:-}" chromium chromium-browser google-chrome-stable google-chrome; do
    if [ -n "$name" ] && command -v "$name" >/dev/null; then exit 0; fi
done
if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
    apt-get update --quiet=2
    DEBIAN_FRONTEND=noninteractive apt-get install --quiet=2 --yes --no-install-recommends chromium
    exit 0
fi
echo "There is no Chromium here, and some tests need one. Install it by hand, on Debian by:" >&2
echo "    sudo apt-get update && sudo apt-get install --no-install-recommends chromium" >&2
echo "or give the path of one you have as CHROMIUM=/path/to/it. Then run the tests again." >&2
