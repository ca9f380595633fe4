_haltung() {
    local -a found
    found=("${(@f)$(haltung __complete "${BUFFER[1,$CURSOR]}" 2>/dev/null)}")
    compadd -S '' -- $found
}
compdef _haltung haltung
