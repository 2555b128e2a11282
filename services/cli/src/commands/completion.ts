/** Shells that completion is written for. */
export const shells = ['bash', 'zsh', 'fish'] as const;

/** One of them. */
export type Shell = (typeof shells)[number];

/** The hidden command that the scripts call with the words up to the cursor; its answer is a word a line, or this for a file. */
export const [completeCommand, anyFile] = ['complete', ':file'] as const;

/** A script that makes a shell complete nouns, verbs, flags, choices and names: it asks the command line for what may follow. */
export const completionScript = (shell: Shell): string =>
  `# Completion of interlock for ${shell}; made by: interlock completion ${shell}\n${scripts[shell]}`;

// The command is called as it was typed, so that an alias or a path is the same program.
const bash = `_interlock() {
  local IFS=$'\\n' offered
  offered=$("$1" ${completeCommand} -- "\${COMP_WORDS[@]:1:COMP_CWORD}" 2>/dev/null)
  COMPREPLY=()
  if [[ $offered == '${anyFile}' ]]; then
    compopt -o default
  else
    COMPREPLY=($(compgen -W "$offered" -- "\${COMP_WORDS[COMP_CWORD]}"))
    [[ \${COMPREPLY[0]} == */ ]] && compopt -o nospace
  fi
  return 0
}
complete -F _interlock interlock
`;

const zsh = `_interlock() {
  local -a offered
  offered=("\${(@f)$("\${words[1]}" ${completeCommand} -- "\${(@)words[2,CURRENT]}" 2>/dev/null)}")
  if [[ $offered[1] == '${anyFile}' ]]; then
    _files
  else
    compadd -S '' -- \${(M)offered:#*/}
    compadd -- \${offered:#*/}
  fi
}
compdef _interlock interlock
`;

const fish = `function __interlock_complete
  set -l typed (commandline -opc)
  set -l offered ($typed[1] ${completeCommand} -- $typed[2..] (commandline -ct) 2>/dev/null)
  if test "$offered" = '${anyFile}'
    __fish_complete_path (commandline -ct)
  else
    printf '%s\\n' $offered
  end
end
complete -c interlock -f -a '(__interlock_complete)'
`;

const scripts: Readonly<Record<Shell, string>> = { bash, zsh, fish };
