#!/usr/bin/env bash
# Runs a scenario, and tells the step's outputs. Ends with Highwater's own exit code.
#
# SCENARIO  the scenario's file
# ARGS      more arguments, quoted as in a shell, perhaps over several lines
# FAIL_ON   fail or warn
# BINARY    the program, where it is not on the path
set -euo pipefail

place="$(mktemp -d "${RUNNER_TEMP:-/tmp}/highwater-run.XXXXXX")"
report="$place/report"

# xargs splits and unquotes as a shell does, and runs nothing of what it reads.
if ! printf '%s\n' "${ARGS:-}" | xargs -r printf '%s\0' >"$place/args"; then
    echo "::error title=highwater::args has a quote without its other half on the same line" >&2
    echo "exit-code=2" >>"$GITHUB_OUTPUT"
    exit 2
fi
mapfile -d '' -t arguments <"$place/args"

scenario="${SCENARIO:-highwater.toml}"
# A file, even where its name begins as an option does.
case "$scenario" in -*) scenario="./$scenario" ;; esac
code=0
"${BINARY:-highwater}" run "$scenario" --out "$report" \
    --fail-on "${FAIL_ON:-fail}" ${arguments[@]+"${arguments[@]}"} || code=$?

# A key of run.json that stands alone on its line, so many spaces from its edge.
key() { sed -n "s/^ \{$1\}\"$2\": \"\{0,1\}\([a-z0-9]*\)\"\{0,1\},\{0,1\}\$/\1/p" "$report/run.json" | head -n 1; }

verdict="" bytes="" limit=""
if [ -f "$report/run.json" ]; then
    verdict="$(key 2 verdict)"
    bytes="$(key 4 recommended_limit_bytes)"
    [ "$bytes" != null ] || bytes=""
    [ -z "$bytes" ] || limit="$((bytes / 1048576))Mi"
else
    report=""
fi
{
    echo "verdict=$verdict"
    echo "exit-code=$code"
    echo "recommended-limit=$limit"
    echo "recommended-limit-bytes=$bytes"
    echo "report=$report"
} >>"$GITHUB_OUTPUT"
exit "$code"
