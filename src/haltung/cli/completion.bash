_haltung() {
    local IFS=$'\n'
    COMPREPLY=($(haltung __complete "${COMP_LINE:0:$COMP_POINT}" 2>/dev/null))
    # bash takes = for the end of a word, so that only what follows it is replaced
    local word="${COMP_LINE:0:$COMP_POINT}"; word="${word##* }"
    if [[ "$word" == *=* && "$COMP_WORDBREAKS" == *=* ]]; then COMPREPLY=("${COMPREPLY[@]#"${word%=*}="}"); fi
    if [[ "${COMPREPLY[0]}" == *= || "${COMPREPLY[0]}" == *. ]]; then compopt -o nospace; fi
}
complete -F _haltung haltung
