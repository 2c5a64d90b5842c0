# completion of gopm's words for bash: source <(gopm completion bash)
_gopm() {
	local cur=${COMP_WORDS[COMP_CWORD]} answer line word directive=0 i words=("")
	# bash takes ssh://host for three words: with what it has cut off they are one again.
	for ((i = 1; i <= COMP_CWORD; i++)); do
		word=${COMP_WORDS[i]}
		if [[ $word == :* || ${words[-1]} == *: ]]; then words[-1]+=$word; else words+=("$word"); fi
	done
	answer=$("${COMP_WORDS[0]}" __complete "${words[@]:1}" 2>/dev/null) || return
	COMPREPLY=()
	while IFS= read -r line; do
		case $line in
		:[0-9]*) directive=${line#:} ;;
		*)
			word=${line%%$'\t'*}
			if [[ ${words[-1]} == *:* ]]; then word=${word#"${words[-1]%:*}":}; fi
			if [[ -n $word && $word == "${cur#:}"* ]]; then COMPREPLY+=("$word"); fi
			;;
		esac
	done <<<"$answer"
	# 2: no blank after the word; 4: never a file
	if ((directive & 2)) || [[ ${#COMPREPLY[@]} == 1 && ${COMPREPLY[0]} == */ ]]; then compopt -o nospace; fi
	if ((!(directive & 4) && ${#COMPREPLY[@]} == 0)); then compopt -o default; fi
} 2>/dev/null
complete -F _gopm gopm
