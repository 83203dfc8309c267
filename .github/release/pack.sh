#!/usr/bin/env bash
# Packs a release's binary: pack.sh TARGET BINARY DIRECTORY makes
# DIRECTORY/highwater-TARGET.tar.gz and its sum. Refuses a binary that is not static.
set -euo pipefail
target="$1" binary="$(realpath "$2")" out="$3"
here="$(cd "$(dirname "$0")/../.." && pwd)"

if readelf --program-headers --wide "$binary" | grep -q ' INTERP '; then
    echo "$binary is not static: it asks for a loader" >&2
    exit 1
fi
"$binary" --version

staging="$(mktemp -d)"
trap 'rm -rf "$staging"' EXIT
install -m 755 "$binary" "$staging/highwater"
install -m 644 "$here/LICENSE" "$here/README.md" "$here/CHANGELOG.md" "$staging"
mkdir -p "$out"
archive="highwater-$target.tar.gz"
# The same input gives the same archive.
tar --create --sort=name --owner=0 --group=0 --numeric-owner --mtime='2026-01-01 00:00Z' \
    -C "$staging" highwater LICENSE README.md CHANGELOG.md | gzip -n -9 >"$out/$archive"
(cd "$out" && sha256sum "$archive" >"$archive.sha256")
tar -tzf "$out/$archive" highwater >/dev/null
echo "$out/$archive"
