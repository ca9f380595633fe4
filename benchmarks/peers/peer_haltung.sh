# Haltung: all tasks of the corpus in one training. What stands behind the seventh word are its settings for this corpus; the seventh is
# the corpus with its share ("real_news-0.125"), as a training on a part is named.
set -eu
splits=$1 out=$2 seed=$4 corpus=$6 given=$7; shift 7
name="$corpus-$$" run="$corpus-$$${given#"$corpus"}-$seed"
haltung train corpus="$corpus" seed="$seed" name="$name" "$@"
haltung predict run="$run" input="$splits/test.jsonl" output="$out"
