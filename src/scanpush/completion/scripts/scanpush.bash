# bash completion for scanpush, made by: scanpush completion bash
_scanpush_files() {
    local IFS=$'\n'
    compopt -o filenames 2>/dev/null
    COMPREPLY=($(compgen -f -- "$1"))
}

_scanpush() {
    local line=${COMP_LINE:0:COMP_POINT} cur='' flag='' command='' flags='' words='' word i
    local -a typed
    COMPREPLY=()
    read -ra typed <<<"$line"
    if [[ $line != *[[:space:]] ]]; then
        cur=${typed[${#typed[@]} - 1]}
        unset "typed[${#typed[@]} - 1]"
    fi
    for ((i = 1; i < ${#typed[@]}; i++)); do
        word=${typed[i]/#--/-}
        case $word in
        @CONNECTION@) i=$((i + 1)) ;;
        @CONNECTION_ONE_WORD@) ;;
        -*) command=push; break ;;
        *) command=$word; break ;;
        esac
    done
    if ((${#typed[@]} > 1)); then
        flag=${typed[${#typed[@]} - 1]/#--/-}
    fi
    if [[ $cur == -*=* ]]; then
        flag=${cur%%=*}
        flag=${flag/#--/-}
        cur=${cur#*=}
    fi
    case "${command:-push} $flag" in
@VALUES@    esac
    if [[ -z $words && $cur == -* ]]; then
        case ${command:-push} in
@FLAGS@        esac
        words=$flags
        if [[ $cur == --* ]]; then
            words=" $flags"
            words=${words// -/ --}
        fi
    elif [[ -z $words && -z $command ]]; then
        words='@COMMANDS@'
    elif [[ -z $words ]]; then
        case $command in
@WORDS@        esac
    fi
    COMPREPLY=($(compgen -W "$words" -- "$cur"))
}

complete -F _scanpush scanpush
