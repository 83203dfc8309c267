#!/usr/bin/env bash
# Fetches a release's static binary, checks its sum, and puts it on the path of later steps.
#
# VERSION    such as v0.1.0, or latest; empty: REF where that is a version's tag, else latest
# REF        what the action is used at
# REPOSITORY owner/name of whoever made the release
#            (both only where the action's own path does not tell: inside another composite action
#            GitHub names that one instead)
# DOWNLOAD   (for tests) where the files are, instead of that repository's release
# TARGET     (for tests) the target triple, instead of this machine's
set -euo pipefail

fail() { echo "::error title=highwater::$*" >&2; exit 1; }

# GitHub keeps an action at …/_actions/owner/name/ref.
ref="${REF:-}" repository="${REPOSITORY:-${GITHUB_REPOSITORY:-}}"
if [[ "${GITHUB_ACTION_PATH:-}" =~ /_actions/([^/]+/[^/]+)/(.+)$ ]]; then
    repository="${BASH_REMATCH[1]}" ref="${BASH_REMATCH[2]}"
fi

# A version becomes part of an address: nothing else may get into it.
is_version() { [[ "$1" =~ ^v[0-9]+\.[0-9]+\.[0-9]+(-[0-9A-Za-z.-]+)?$ ]]; }
version="${VERSION:-}"
if [ -z "$version" ]; then
    version=latest
    if is_version "$ref"; then version="$ref"; fi
fi
[ "$version" = latest ] || is_version "$version" \
    || fail "version is neither latest nor such as v0.1.0: $(printf '%q' "$version")"

if [ -z "${TARGET:-}" ]; then
    case "$(uname -s)-$(uname -m)" in
        Linux-x86_64) TARGET=x86_64-unknown-linux-musl ;;
        Linux-aarch64) TARGET=aarch64-unknown-linux-musl ;;
        *) fail "there is no release for $(uname -s) on $(uname -m)" ;;
    esac
fi

if [ -z "${DOWNLOAD:-}" ]; then
    [ -n "$repository" ] || fail "whose release to fetch is not known: set REPOSITORY to owner/name"
    releases="${GITHUB_SERVER_URL:-https://github.com}/$repository/releases"
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
    curl --fail --silent --show-error --location --proto-redir =https --retry 3 \
        --output "$file" "$DOWNLOAD/$file" \
        || fail "failed to fetch $DOWNLOAD/$file"
done
# The sum of this archive, whatever else that file may name.
read -r sum _ <"$archive.sha256" || true
printf '%s  %s\n' "${sum:-}" "$archive" | sha256sum --check --status 2>/dev/null \
    || fail "the sum of $archive is not the release's"
tar -xzf "$archive" -C bin highwater
echo "$place/bin" >>"$GITHUB_PATH"
"$place/bin/highwater" --version
