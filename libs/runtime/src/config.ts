/** Result of reading one variable: its value, or why it has no value. A set value that is not used is `ignored`. */
export type Reading<Value> =
  | { readonly ok: true; readonly value: Value; readonly ignored?: Pick<ConfigProblem, 'got' | 'expected'> }
  | { readonly ok: false; readonly got: string; readonly expected: string };

/** Reads one variable of the environment. `undefined` and the empty text both mean that it is not set. */
export interface Reader<Value> {
  readonly description: string;
  /** Description of a valid value, for errors and docs. */
  readonly expected: string;
  /** The value as it may be shown to users and in logs. */
  show(value: Value): string;
  read(raw: string | undefined): Reading<Value>;
}

/** A service's settings: property name in camelCase → reader. `databaseUrl` is read from `DATABASE_URL`. */
export type ConfigSpec = Readonly<Record<string, Reader<unknown>>>;

/** The settings a specification yields. */
export type ConfigOf<Spec extends ConfigSpec> = {
  readonly [Name in keyof Spec]: Spec[Name] extends Reader<infer Value> ? Value : never;
};

/** One setting that cannot be used. */
export interface ConfigProblem {
  /** Name of the environment variable. */
  readonly name: string;
  readonly got: string;
  readonly expected: string;
}

/** The environment does not match the specification. Lists all problems, so that they can be fixed at once. */
export class ConfigError extends Error {
  override readonly name = 'ConfigError';
  readonly problems: readonly ConfigProblem[];
  constructor(problems: readonly ConfigProblem[]) {
    super(
      `${problems.length} setting(s) cannot be used:\n${problems
        .map(({ name, got, expected }) => `  ${name}: got ${got}, expected ${expected}`)
        .join('\n')}`,
    );
    this.problems = problems;
  }
}

/**
 * Reads every setting of `spec` from `env`. Only this reads the environment: services get the frozen result.
 * @param onIgnored called with each value that is ignored, for a warning
 * @throws ConfigError naming every variable that is missing or wrong
 */
export function readConfig<const Spec extends ConfigSpec>(
  env: Readonly<Record<string, string | undefined>>,
  spec: Spec,
  onIgnored: (problem: ConfigProblem) => void = () => {},
): ConfigOf<Spec> {
  const problems: ConfigProblem[] = [];
  const config: Record<string, unknown> = {};
  for (const [name, reader] of Object.entries(spec)) {
    const variable = variableOf(name);
    const reading = reader.read(env[variable] === '' ? undefined : env[variable]);
    if (reading.ok) {
      config[name] = reading.value;
      if (reading.ignored !== undefined) onIgnored({ name: variable, ...reading.ignored });
    } else problems.push({ name: variable, got: reading.got, expected: `${reading.expected} (${reader.description})` });
  }
  if (problems.length > 0) throw new ConfigError(problems);
  assertComplete(config, spec);
  return Object.freeze(config);
}

/** The settings of a service by variable name, for a log line at the start. Secrets are `‹set›`. */
export function describeConfig<const Spec extends ConfigSpec>(
  spec: Spec,
  config: ConfigOf<Spec>,
): Readonly<Record<string, string>> {
  return Object.fromEntries(
    Object.entries(spec).map(([name, reader]) => [variableOf(name), reader.show(config[name])]),
  );
}

/** `databaseUrl` → `DATABASE_URL`. */
export const variableOf = (name: string): string => name.replace(/[A-Z]/g, (capital) => `_${capital}`).toUpperCase();

/** Type assertion only: the loop above has read every property of the specification. */
function assertComplete<Spec extends ConfigSpec>(
  config: Record<string, unknown>,
  spec: Spec,
): asserts config is ConfigOf<Spec> {
  for (const name of Object.keys(spec))
    if (!Object.hasOwn(config, name)) throw new Error(`setting ${name} was not read`);
}
