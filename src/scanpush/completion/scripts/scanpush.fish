# fish completion for scanpush, made by: scanpush completion fish
function __scanpush_command
    set -l typed (commandline -opc)
    set -e typed[1]
    while set -q typed[1]
        switch $typed[1]
            case @CONNECTION@
                set -e typed[1]
                set -q typed[1]; and set -e typed[1]
            case @CONNECTION_ONE_WORD@
                set -e typed[1]
            case '-*'
                echo push
                return
            case '*'
                echo $typed[1]
                return
        end
    end
end

function __scanpush_no_command
    test -z "$(__scanpush_command)"
end

# Without a command it is push.
function __scanpush_is
    set -l command (__scanpush_command)
    test "$command" = $argv[1]; or test -z "$command" -a $argv[1] = push
end

complete -c scanpush -f
@LINES@