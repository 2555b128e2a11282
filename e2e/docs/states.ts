import { filesLike, textOf } from './sources.ts';

/** A category of streams with the states that its type names. */
export interface StreamStates {
  readonly stream: string;
  /** For a table: the states, then those of the parts of a resource. */
  readonly states: string;
  /** The file of the type, from the root. */
  readonly file: string;
}

/** The categories of streams that a service or the gateway defines, in order of their files. */
export const statesIn = (service: string): readonly StreamStates[] => {
  const sources = filesLike(new RegExp(`^services/${service}/src/.*\\.ts$`))
    .filter((file) => !/(^|\/)test-|\.test\.ts$/.test(file))
    .map((file) => ({ file, text: textOf(file) }));
  return sources.flatMap((source) =>
    [...source.text.matchAll(/: CategoryDefinition<(\w+), [^=]*> = \{\s+name: '(\w+)'/g)].map(
      ([, type = '', stream = '']) => {
        const defining = [source, ...sources].find(({ text }) => declarationOf(text, type) !== '') ?? source;
        return { stream, states: statesOf(defining.text, type), file: defining.file };
      },
    ),
  );
};

/** The text of an exported type or interface, without comments; empty if the source does not declare it. */
const declarationOf = (source: string, type: string): string => {
  const start = source.search(new RegExp(`^(?:export )?(?:type|interface) ${type}\\b`, 'm'));
  if (start < 0) return '';
  const length = source.slice(start).search(/;\n(?=\n|\/\*\*|export |$)|\n\}/);
  return source.slice(start, length < 0 ? undefined : start + length).replaceAll(/\/\*[\s\S]*?\*\/|\/\/.*/g, '');
};

/** States that a declaration has as a literal, or as the argument of a type of its own: `InState<'running'>`, `Off<'stopped'>`. */
const statesNamed = (declaration: string): readonly string[] => [
  ...new Set(
    [...declaration.matchAll(/\breadonly (?:status|state): '(\w+)'|\b[A-Z]\w*<'(\w+)'>/g)].map(
      ([, status, state]) => `${status ?? state}`,
    ),
  ),
];

/** States of a type and, by name, of the types of its parts in the same file. */
const statesOf = (source: string, type: string): string => {
  const union = declarationOf(source, type);
  const referred = (declaration: string): readonly string[] =>
    [...new Set(declaration.match(/\b[A-Z]\w+\b/g) ?? [])].filter((name) => !declaration.includes(`type ${name} `));
  const members = referred(union).filter((name) => declarationOf(source, name) !== '');
  const whole = union.replaceAll(/\b[A-Z]\w+\b/g, (name) =>
    members.includes(name) && name !== type ? declarationOf(source, name) : name,
  );
  const parts = new Map<string, readonly string[]>();
  const follow = (declaration: string): void => {
    for (const name of referred(declaration)) {
      const part = declarationOf(source, name);
      if (part === '' || name === type || parts.has(name)) continue;
      const states = statesNamed(part);
      parts.set(name, members.includes(name) ? [] : states);
      follow(part);
    }
  };
  follow(union);
  const own = statesNamed(whole).join(', ') || 'none';
  const ofParts = [...parts].filter(([, states]) => states.length > 1);
  return [own, ...ofParts.map(([name, states]) => `${name}: ${states.join(', ')}`)].join('; ');
};
