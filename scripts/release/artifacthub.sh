#!/usr/bin/env bash
# Publishes what Artifact Hub reads: a commit on the branch `artifacthub`, which holds the released state alone.
#
#   scripts/release/artifacthub.sh v0.1.0 [REMOTE]      (default: origin)
#
# The branch is made by the first release. Neither the work tree nor its index is touched.
set -euo pipefail

[ $# -ge 1 ] || { sed -n '2,6s/^# \{0,1\}//p' "$0" >&2; exit 2; }
cd "$(dirname "$0")/../.."
tag=$1
remote=${2:-origin}
branch=refs/heads/artifacthub

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
export GIT_INDEX_FILE=$work/index
export GIT_AUTHOR_NAME="harbor-warmer release" GIT_AUTHOR_EMAIL=maintainers@harbor-warmer.io
export GIT_COMMITTER_NAME=$GIT_AUTHOR_NAME GIT_COMMITTER_EMAIL=$GIT_AUTHOR_EMAIL

# The file was made before the version was tagged; the release is now.
git show "$tag:artifacthub-pkg.yml" |
    sed "s/^createdAt: .*/createdAt: '$(date --utc +%Y-%m-%dT%H:%M:%SZ)'/" >"$work/artifacthub-pkg.yml"
for file in artifacthub-pkg.yml artifacthub-repo.yml README.md; do
    [ -f "$work/$file" ] || git show "$tag:$file" >"$work/$file"
    git update-index --add --cacheinfo "100644,$(git hash-object -w "$work/$file"),$file"
done

parent=()
tip=$(git ls-remote "$remote" "$branch" | cut -f 1)
if [ -n "$tip" ]; then
    git fetch --quiet "$remote" "$branch"
    parent=(-p "$tip")
fi
commit=$(git commit-tree "${parent[@]}" -m "Publish $tag" "$(git write-tree)")
git push --quiet "$remote" "$commit:$branch"
