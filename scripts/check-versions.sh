#!/usr/bin/env bash
# Fails unless the version is the same wherever it stands. With a tag, that one has to agree as well.
#
#   scripts/check-versions.sh [v0.1.0]
set -euo pipefail
cd "$(dirname "$0")/.."

# The first value of a key in a file of `key: value` or `key = "value"` lines.
value() {
    sed -nE "s/^[[:space:]]*$2[[:space:]]*[:=][[:space:]]*\"?([^\"[:space:]]+)\"?.*/\1/p" "$1" | head -n 1
}

expected=$(value Cargo.toml version)
status=0
agree() {
    if [ "$2" != "$expected" ]; then
        echo "error: $1 says \`$2\`, but the version in Cargo.toml is \`$expected\`" >&2
        status=1
    fi
}

agree "metadata.yml (io.kubewarden.policy.version)" "$(value metadata.yml 'io\.kubewarden\.policy\.version')"
agree "artifacthub-pkg.yml (version)" "$(value artifacthub-pkg.yml version)"
agree "charts/harbor-warmer/Chart.yaml (version)" "$(value charts/harbor-warmer/Chart.yaml version)"
agree "charts/harbor-warmer/Chart.yaml (appVersion)" "$(value charts/harbor-warmer/Chart.yaml appVersion)"
# What people copy from the documents.
while IFS=: read -r file line text; do
    agree "$file:$line" "${text##*[:/]v}"
done < <(grep -noE '(harbor-warmer:|/(tags|download)/)v[0-9]+\.[0-9]+\.[0-9]+[0-9A-Za-z.+-]*' README.md docs/*.md)
[ $# -eq 0 ] || agree "the tag" "${1#v}"
[ "$status" -ne 0 ] || echo "version $expected everywhere"
exit "$status"
