# Completions of brig(8) for bash(1); eval "$(brig completion bash)" in ~/.bashrc.
_brig() {
	local rest=${COMP_LINE:0:COMP_POINT} typed=$2 i word line files=
	local -a words=()
	# bash cuts words at = : and @ as well; what no blank parts is one word.
	for ((i = 0; i <= COMP_CWORD; i++)); do
		word=${COMP_WORDS[i]}
		case $rest in
		[[:blank:]]* | '') rest=${rest#"${rest%%[![:blank:]]*}"} words+=('') ;;
		*) ((i > 0)) || words+=('') ;;
		esac
		((i < COMP_CWORD)) || word=$rest
		rest=${rest#"$word"}
		words[${#words[@]} - 1]+=$word
	done
	words=("${words[@]//[\"\'\\]/}")
	local before=${words[${#words[@]} - 1]}
	before=${before%"${typed//[\"\'\\]/}"}
	COMPREPLY=()
	while IFS= read -r line; do
		[[ $line == :files ]] && files=1 && continue
		line=${line%%$'\t'*}
		[[ -n $line ]] && COMPREPLY+=("${line#"$before"}")
	done <<<"$(command brig __complete -- "${words[@]:1}" 2>/dev/null)"
	[[ -z $files ]] || compopt -o default 2>/dev/null
	# After NAME= and NAME: more may come.
	[[ ${#COMPREPLY[@]} -ne 1 || ${COMPREPLY[0]} != *[=:@] ]] || compopt -o nospace 2>/dev/null
	return 0
}
complete -F _brig brig
