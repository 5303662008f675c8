#compdef brig
# Completions of brig(8) for zsh(1); eval "$(brig completion zsh)" in ~/.zshrc, or this file as _brig in $fpath.
_brig() {
	local line word about files=
	local -a before names abouts
	(( CURRENT > 2 )) && before=("${(@Q)words[2,CURRENT-1]}")
	while IFS= read -r line; do
		[[ $line == :files ]] && files=1 && continue
		word=${line%%$'\t'*} about=${line#*$'\t'}
		[[ -n $word ]] || continue
		names+=("$word")
		abouts+=("$word${about:+  -- $about}")
	done < <(command brig __complete -- "${before[@]}" "${(Q)PREFIX}" 2>/dev/null)
	if [[ -n $files ]]; then
		compset -P '--*='
		_files
		return
	fi
	(( ${#names} )) && compadd -l -d abouts -a names
}
if [[ ${funcstack[1]-} == _brig ]]; then
	_brig "$@"
else
	compdef _brig brig
fi
