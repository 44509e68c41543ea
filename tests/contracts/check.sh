#!/usr/bin/env bash
# Lints the contracts and refuses a change that breaks callers: against the last commit, its
# parent and the last tag, on descriptor images (google's protos lie in a wheel, not in the tree).
set -euo pipefail
buf=${BUF:-.venv/bin/buf}
image=generated/payments/contracts.binpb
old=$(mktemp --suffix=.binpb)
trap 'rm -f "$old"' EXIT

"$buf" lint "$image" --config buf.yaml
echo "buf lint: no findings"
tag=$(git describe --tags --abbrev=0 2>/dev/null || true)
compared=0
for revision in HEAD HEAD^ $tag; do
  if git show "$revision:$image" >"$old" 2>/dev/null; then
    "$buf" breaking "$image" --against "$old" --config buf.yaml
    compared=$((compared + 1))
    echo "buf breaking: nothing broken since $revision"
  fi
done
[ "$compared" -gt 0 ] || echo "buf breaking: there is no earlier image to compare with"
