# Haltung: all tasks of the corpus in one training. What stands behind the fifth word are its settings for this corpus.
set -eu
splits=$1 out=$2 seed=$4 name="$(basename "$1")-$$"; shift 5
haltung train corpus="$(basename "$splits")" seed="$seed" name="$name" "$@"
haltung predict run="$name-$seed" input="$splits/test.jsonl" output="$out"
