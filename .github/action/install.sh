#!/usr/bin/env bash
# Fetches a release's static binary, checks its sum, and puts it on the path of later steps.
#
# VERSION    such as v0.1.0, or latest; empty: REF where that is a version's tag, else latest
# REF        what the action is used at
# REPOSITORY owner/name of whoever made the release
# DOWNLOAD   (for tests) where the files are, instead of that repository's release
# TARGET     (for tests) the target triple, instead of this machine's
set -euo pipefail

fail() { echo "::error title=highwater::$*" >&2; exit 1; }

version="${VERSION:-}"
if [ -z "$version" ]; then
    case "${REF:-}" in
        v[0-9]*) version="$REF" ;;
        *) version=latest ;;
    esac
fi

if [ -z "${TARGET:-}" ]; then
    case "$(uname -s)-$(uname -m)" in
        Linux-x86_64) TARGET=x86_64-unknown-linux-musl ;;
        Linux-aarch64) TARGET=aarch64-unknown-linux-musl ;;
        *) fail "there is no release for $(uname -s) on $(uname -m)" ;;
    esac
fi

if [ -z "${DOWNLOAD:-}" ]; then
    releases="${GITHUB_SERVER_URL:-https://github.com}/${REPOSITORY:?}/releases"
    case "$version" in
        latest) DOWNLOAD="$releases/latest/download" ;;
        *) DOWNLOAD="$releases/download/$version" ;;
    esac
fi

archive="highwater-$TARGET.tar.gz"
place="${RUNNER_TEMP:?}/highwater"
rm -rf "$place"
mkdir -p "$place/bin"
cd "$place"
for file in "$archive" "$archive.sha256"; do
    curl --fail --silent --show-error --location --retry 3 --output "$file" "$DOWNLOAD/$file" \
        || fail "failed to fetch $DOWNLOAD/$file"
done
sha256sum --check --status "$archive.sha256" || fail "the sum of $archive is not the release's"
tar -xzf "$archive" -C bin highwater
echo "$place/bin" >>"$GITHUB_PATH"
"$place/bin/highwater" --version
