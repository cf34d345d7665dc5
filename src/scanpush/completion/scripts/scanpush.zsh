#compdef scanpush
# zsh completion for scanpush, made by: scanpush completion zsh
_scanpush() {
    local -a commands
    local command='' i
    commands=(
@COMMANDS@    )
    for ((i = 2; i < CURRENT; i++)); do
        case ${words[i]/#--/-} in
        (@CONNECTION@) ((i++)) ;;
        (@CONNECTION_ONE_WORD@) ;;
        (-*) command=push; i=0; break ;;
        (*) command=$words[i]; break ;;
        esac
    done
    if [[ -z $command && ${words[CURRENT]} != -* && ${words[CURRENT-1]/#--/-} != (@CONNECTION@) ]]; then
        _describe command commands
        return
    fi
    if [[ -n $command ]] && ((i > 0)); then
        words[i]=()
        ((CURRENT--))
    fi
    case ${command:-push} in
@CASES@    esac
}

if [[ ${funcstack[1]} == _scanpush ]]; then
    _scanpush "$@"
else
    compdef _scanpush scanpush
fi
