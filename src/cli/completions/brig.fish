# Completions of brig(8) for fish(1); brig completion fish | source, or this file as brig.fish in ~/.config/fish/completions.
function __brig_complete
    set -l words (commandline -opc)
    set -l typed (commandline -ct)
    set -e words[1]
    set -l lines (command brig __complete -- $words "$typed" 2>/dev/null)
    if contains -- :files $lines
        set -l before (string match -r -- '^--[^=]*=' "$typed")
        set -l path (string replace -r -- '^--[^=]*=' '' "$typed")
        for each in (__fish_complete_path "$path")
            printf '%s%s\n' "$before" "$each"
        end
    else
        printf '%s\n' $lines
    end
end
complete -c brig -f -a '(__brig_complete)'
