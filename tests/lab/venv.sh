#!/bin/sh
# Make the Python environment FOLDER with the first suitable interpreter: tests/lab/venv.sh FOLDER
# METERBRIDGE_PYTHON names one interpreter to use instead of looking for one.
set -eu

folder=$1
here=$(dirname "$0")

suitable() {
    command -v "$1" >/dev/null 2>&1 &&
        "$1" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' 2>/dev/null
}

# An environment that works is kept: whoever uses it now goes on.
if suitable "$folder/bin/python" && "$folder/bin/python" -c 'import pip' 2>/dev/null; then
    exit 0
fi

python=""
for candidate in ${METERBRIDGE_PYTHON:-python3 python3.13 python3.12 python3.11}; do
    if suitable "$candidate"; then
        python=$candidate
        break
    fi
done
if [ -z "$python" ]; then
    echo "venv.sh: no Python 3.11, 3.12 or 3.13 here. On Debian 12 or later: apt-get install python3." >&2
    echo "venv.sh: one that is not on PATH is named by METERBRIDGE_PYTHON=/path/to/python3 make ..." >&2
    exit 1
fi

# Debian ships the interpreter without ensurepip, and then a new environment has no pip.
if ! "$python" -c 'import ensurepip, venv' 2>/dev/null; then
    version=$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])')
    "$here/apt.sh" "python$version-venv"
fi
"$python" -m venv --clear "$folder"
