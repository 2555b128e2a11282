import type { Command, Option } from 'commander';

/** Shells that completion is written for. */
export const shells = ['bash', 'zsh', 'fish'] as const;

/** One of them. */
export type Shell = (typeof shells)[number];

/** What may follow the words of a command. */
interface Entry {
  /** `vm start`; empty for the program itself. */
  readonly path: string;
  /** Commands below it. */
  readonly commands: readonly string[];
  /** Flags, and the values of those that have a choice; undefined for those that take any value, empty for switches. */
  readonly flags: ReadonlyMap<string, readonly string[] | undefined>;
}

/** A script that makes a shell complete nouns, verbs, flags, and values that are a choice. @param program with all its commands */
export function completionScript(program: Command, shell: Shell): string {
  const entries = entriesOf(program, '', []);
  return shell === 'fish' ? fishScript(entries) : posixScript(entries, shell);
}

function entriesOf(command: Command, path: string, above: readonly Option[]): readonly Entry[] {
  const options = [...above, ...command.options.filter(({ hidden }) => !hidden)];
  const flags = new Map<string, readonly string[] | undefined>([['--help', []]]);
  for (const option of options) {
    const values = valuesOf(option);
    for (const flag of [option.short, option.long]) if (flag !== undefined && flag !== null) flags.set(flag, values);
  }
  const commands = command.commands.map((one) => one.name());
  const below = command.commands.flatMap((one) => entriesOf(one, `${path} ${one.name()}`.trim(), options));
  return [{ path, commands, flags }, ...below];
}

function valuesOf({ flags, required }: Option): readonly string[] | undefined {
  if (!required) return [];
  const [, choices] = /<([\w-]+(?:\|[\w-]+)+)>/.exec(flags) ?? [];
  return choices?.split('|');
}

/** Two functions that bash and zsh understand, and how each shell calls them. */
function posixScript(entries: readonly Entry[], shell: 'bash' | 'zsh'): string {
  const words = entries.map(
    ({ path, commands, flags }) => `    '${path}') echo '${[...commands, ...flags.keys()].join(' ')}' ;;`,
  );
  const commands = entries
    .filter((entry) => entry.commands.length > 0)
    .map(({ path, commands }) => `    '${path}') echo ' ${commands.join(' ')} ' ;;`);
  const values = entries.flatMap(({ path, flags }) =>
    [...flags]
      .filter(([, choices]) => choices?.length !== 0)
      .map(([flag, choices]) => `    '${path} ${flag}') echo '${choices?.join(' ') ?? '@any'}' ;;`),
  );
  return `# Completion of interlock for ${shell}; made by: interlock completion ${shell}
_interlock_words() {
  case "$1" in
${words.join('\n')}
  esac
}
_interlock_commands() {
  case "$1" in
${commands.join('\n')}
  esac
}
_interlock_values() {
  case "$1" in
${values.join('\n')}
  esac
}
# The command that the words so far are: those that are one below the words before.
_interlock_path() {
  local found='' word
  for word in "$@"; do
    case "$(_interlock_commands "$found")" in
      *" $word "*) found="\${found:+$found }$word" ;;
    esac
  done
  echo "$found"
}
${shell === 'bash' ? bashEnd : zshEnd}`;
}

const bashEnd = `_interlock() {
  local current=\${COMP_WORDS[COMP_CWORD]} previous=\${COMP_WORDS[COMP_CWORD - 1]} path values
  path=$(_interlock_path "\${COMP_WORDS[@]:1:COMP_CWORD - 1}")
  values=$(_interlock_values "$path $previous")
  case "$values" in
    @any) compopt -o default; COMPREPLY=() ;;
    '') COMPREPLY=($(compgen -W "$(_interlock_words "$path")" -- "$current")) ;;
    *) COMPREPLY=($(compgen -W "$values" -- "$current")) ;;
  esac
}
complete -F _interlock interlock
`;

const zshEnd = `_interlock() {
  local known values
  known=$(_interlock_path "\${(@)words[2,CURRENT - 1]}")
  values=$(_interlock_values "$known \${words[CURRENT - 1]}")
  case "$values" in
    @any) _files ;;
    '') compadd -- \${=$(_interlock_words "$known")} ;;
    *) compadd -- \${=values} ;;
  esac
}
compdef _interlock interlock
`;

function fishScript(entries: readonly Entry[]): string {
  const lines = entries.flatMap(({ path, commands, flags }) => {
    const condition =
      path === ''
        ? '__fish_use_subcommand'
        : path
            .split(' ')
            .map((word) => `__fish_seen_subcommand_from ${word}`)
            .join('; and ');
    const deepest =
      commands.length === 0 || path === ''
        ? condition
        : `${condition}; and not __fish_seen_subcommand_from ${commands.join(' ')}`;
    const words = commands.length === 0 ? [] : [`complete -c interlock -f -n '${deepest}' -a '${commands.join(' ')}'`];
    const own = [...flags].map(([flag, choices]) => {
      const form = flag.startsWith('--') ? `-l ${flag.slice(2)}` : `-s ${flag.slice(1)}`;
      const value = choices === undefined ? ' -r' : choices.length === 0 ? '' : ` -x -a '${choices.join(' ')}'`;
      return `complete -c interlock -n '${deepest}' ${form}${value}`;
    });
    return [...words, ...own];
  });
  return `# Completion of interlock for fish; made by: interlock completion fish\n${lines.join('\n')}\n`;
}
