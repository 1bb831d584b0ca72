#!/bin/sh
# Install Debian packages without questions and without starting a daemon: tests/lab/apt.sh PACKAGE...
# Works as root or through sudo; anything else is an error that says what to type.
set -eu

guard=/usr/sbin/policy-rc.d
kept=$guard.before-meterbridge

if ! command -v apt-get >/dev/null 2>&1; then
    echo "apt.sh: no apt-get on this machine; install what these Debian packages hold: $*" >&2
    exit 1
fi
if [ "$(id -u)" -eq 0 ]; then
    root=""
elif command -v sudo >/dev/null 2>&1 && { sudo -n true 2>/dev/null || [ -t 0 ]; }; then
    root="sudo"
else
    echo "apt.sh: neither root nor sudo here; have somebody run: apt-get install --no-install-recommends $*" >&2
    exit 1
fi

restore() {
    $root rm -f "$guard"
    if [ -e "$kept" ]; then $root mv "$kept" "$guard"; fi
}
trap restore EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

# invoke-rc.d and deb-systemd-invoke ask this file whether they may start a daemon; 101 means no.
if [ -e "$guard" ] && [ ! -e "$kept" ]; then $root mv "$guard" "$kept"; fi
printf '#!/bin/sh\nexit 101\n' | $root tee "$guard" >/dev/null
$root chmod 755 "$guard"

install() {
    $root env DEBIAN_FRONTEND=noninteractive NEEDRESTART_SUSPEND=1 apt-get install -y -q --no-install-recommends \
        -o DPkg::Lock::Timeout=300 -o Dpkg::Options::=--force-confdef -o Dpkg::Options::=--force-confold "$@"
}

# The lists of a fresh machine are empty, and those of an old one name versions that are gone.
install "$@" || { $root apt-get update -q && install "$@"; }
