complete -c haltung -f -a '(haltung __complete (commandline -cp) 2>/dev/null)'
