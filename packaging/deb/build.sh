#!/bin/sh
# packaging/deb/build.sh [FOLDER]: a Debian package of meterbridge and every library it runs with, by the hashes of
# requirements-runtime.lock, for the Python of this machine; prints its path. Build it on the release it is for.
#
# Everything lies in /opt/meterbridge/.venv, where the units of packaging/systemd look for it. PYTHON is that of the
# package (/usr/bin/python3), TOOLS the environment that builds (.venv: make deb sets it up), COMPRESSION dpkg-deb's.
set -eu
tree=$(cd "$(dirname "$0")/../.." && pwd)
out=$(mkdir -p "${1:-$tree/dist}" && cd "${1:-$tree/dist}" && pwd)
python=${PYTHON:-/usr/bin/python3}
tools=${TOOLS:-$tree/.venv}
stage=$(mktemp -d)
trap 'rm -rf "$stage"' EXIT
src=$stage/src root=$stage/root home=$stage/root/opt/meterbridge

# from a copy: setuptools takes into a wheel whatever an earlier build left below the tree
mkdir -p "$src" "$home"
for part in pyproject.toml README.md LICENSE meterbridge.py exporters accounting alerts dashboards demo; do
    cp -r "$tree/$part" "$src/"
done
version=${VERSION:-$(sed -n 's/^version = "\(.*\)"$/\1/p' "$src/pyproject.toml")}
"$tools/bin/python" -m pip wheel --quiet --no-deps --no-build-isolation --wheel-dir "$stage" "$src" >&2

"$python" -m venv --without-pip "$home/.venv"
pip() { "$tools/bin/python" -m pip --python "$home/.venv/bin/python" install --quiet "$@" >&2; }
pip --require-hashes --requirement "$tree/requirements-runtime.lock"
pip --no-deps "$stage"/meterbridge-*.whl
# programs name the interpreter by the place where it will be, and that is the machine's own
sed -i "1s|^#!$home/|#!/opt/meterbridge/|" "$home"/.venv/bin/*
find "$home/.venv/bin" -name 'activate*' -o -name 'Activate*' | xargs rm -f
ln -sf "$python" "$home/.venv/bin/python3"
grep -rlF "$stage" "$home/.venv" --include=direct_url.json | xargs -r rm

release=$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])')
next=$("$python" -c 'import sys; print("%d.%d" % (sys.version_info[0], sys.version_info[1] + 1))')
mkdir -p "$root/usr/bin" "$root/usr/lib/systemd/system" "$root/etc/default" "$root/etc/meterbridge" \
    "$root/usr/share/meterbridge" "$root/usr/share/doc/meterbridge" "$root/DEBIAN"
ln -s /opt/meterbridge/.venv/bin/meterbridge "$root/usr/bin/meterbridge"
cp "$tree"/packaging/systemd/*.service "$root/usr/lib/systemd/system/"
cp -r "$tree/alerts/rules" "$root/usr/share/meterbridge/rules"
cp -r "$tree/dashboards/json" "$root/usr/share/meterbridge/dashboards"
cp "$tree/packaging/deb/meterbridge-node.default" "$root/etc/default/meterbridge-node"
cp "$tree/LICENSE" "$root/usr/share/doc/meterbridge/copyright"
gzip -9n <"$tree/CHANGELOG.md" >"$root/usr/share/doc/meterbridge/changelog.gz"
for script in postinst prerm postrm; do
    install -m 0755 "$tree/packaging/deb/$script" "$root/DEBIAN/$script"
done
printf '%s\n' /etc/default/meterbridge-node >"$root/DEBIAN/conffiles"
sed -e "s/@VERSION@/$version/" -e "s/@ARCHITECTURE@/$(dpkg --print-architecture)/" \
    -e "s/@PYTHON@/$release/" -e "s/@NEXT@/$next/" -e "s/@SIZE@/$(du -sk "$root" | cut -f1)/" \
    "$tree/packaging/deb/control" >"$root/DEBIAN/control"
find "$root" -type d -exec chmod 0755 {} +
chmod -R u+w,go-w,a+rX "$root"
package=$out/meterbridge_${version}_py${release}_$(dpkg --print-architecture).deb
dpkg-deb --root-owner-group -Z"${COMPRESSION:-zstd}" --build "$root" "$package" >&2
echo "$package"
