#!/usr/bin/env bash
# Prints what the changelog says of a tag's version; fails where tag, Cargo.toml and changelog do
# not agree.
set -euo pipefail
tag="$1"
version="${tag#v}"
[ "v$version" = "$tag" ] || { echo "a tag is v and a version: $tag" >&2; exit 1; }
stated="$(sed -n '/^\[workspace.package\]/,/^\[/s/^version *= *"\(.*\)"/\1/p' Cargo.toml)"
[ "$stated" = "$version" ] || { echo "the tag is $tag, Cargo.toml says $stated" >&2; exit 1; }
notes="$(awk -v head="## $version" '
    /^## / { on = ($0 == head || index($0, head " ") == 1); next }
    on { print }
' CHANGELOG.md | sed -e '/./,$!d')"
[ -n "$notes" ] || { echo "CHANGELOG.md has no section of $version" >&2; exit 1; }
printf '%s\n' "$notes"
