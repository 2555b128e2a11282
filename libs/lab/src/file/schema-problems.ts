import type { ErrorObject, ValidateFunction } from 'ajv/dist/2020.js';
import type { Path } from './document.ts';
import { cureOfName, type Problems, pathText, valueText } from './problems.ts';

type Schema = Readonly<Record<string, unknown>>;

/** Adds a problem at a path; default: the place of the error. */
export type AddProblem = (message: string, cure: string, at?: Path) => void;

/** How data is checked against a schema, and how its errors are reported. */
export interface SchemaCheck {
  readonly schema: Schema;
  readonly validate: ValidateFunction;
  /** Reports an error of a choice between fields. @param where name of the part for the text */
  readonly reportChoice?: (error: ErrorObject, where: string, add: AddProblem) => void;
}

/** Checks data against a schema. The texts of problems use titles and examples of the schema. */
export function checkSchema(data: unknown, check: SchemaCheck, problems: Problems): void {
  if (check.validate(data)) return;
  for (const error of relevant(check.validate.errors ?? [])) report(error, data, check, problems);
}

export const isObject = (value: unknown): value is Readonly<Record<string, unknown>> =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

/** Removes errors that only tell why one branch of an `anyOf` or `oneOf` does not match. */
function relevant(errors: readonly ErrorObject[]): readonly ErrorObject[] {
  const unions = errors.filter(({ keyword }) => keyword === 'anyOf' || keyword === 'oneOf');
  return errors.filter((error) => {
    if (error.keyword === 'propertyNames') return false;
    return !unions.some((union) => {
      if (union === error) return false;
      if (union.keyword === 'anyOf') return error.instancePath.startsWith(union.instancePath);
      return error.instancePath === union.instancePath && error.schemaPath.includes('/oneOf/');
    });
  });
}

const pathOf = (instancePath: string, data: unknown): Path => {
  let value = data;
  return instancePath
    .split('/')
    .slice(1)
    .map((part) => {
      const name = part.replaceAll('~1', '/').replaceAll('~0', '~');
      const step = Array.isArray(value) ? Number(name) : name;
      value = Object(value)[step];
      return step;
    });
};

/** Adds a problem with a text for one schema error. */
function report(error: ErrorObject, data: unknown, { schema, reportChoice }: SchemaCheck, problems: Problems): void {
  const path = pathOf(error.instancePath, data);
  const where = path.length === 0 ? 'the file' : pathText(path);
  const parent = error.parentSchema ?? {};
  const add = (message: string, cure: string, at: Path = path): void => problems.add(at, message, cure);
  if (error.keyword === 'additionalProperties') {
    const name: string = error.params.additionalProperty;
    add(`${where} has an unknown field "${name}"`, cureOfName(name, Object.keys(parent.properties ?? {})), [
      ...path,
      name,
    ]);
  } else if (error.keyword === 'required') {
    const name: string = error.params.missingProperty;
    const [example] = exampleOf(parent.properties?.[name], schema);
    add(
      `${where} has no ${name}`,
      example === undefined ? `Add ${name}.` : `Add ${name}, for example ${name}: ${example}.`,
    );
  } else if (error.keyword === 'oneOf' && reportChoice !== undefined) reportChoice(error, where, add);
  else {
    const [example] = exampleOf(parent, schema);
    const cure = suggestion(error, example, schema);
    const expected = typeof parent.title === 'string' ? parent.title : (error.message ?? 'valid');
    add(`${where} must be ${expected}, not ${valueText(error.data)}`, cure);
  }
}

const suggestion = ({ data, parentSchema }: ErrorObject, example: string | undefined, schema: Schema): string => {
  const choices: unknown = parentSchema?.enum ?? deref(parentSchema?.anyOf?.[0], schema).enum;
  if (typeof data === 'string' && Array.isArray(choices)) return cureOfName(data, choices.map(String));
  const pattern: unknown = parentSchema?.pattern;
  // A time without its unit.
  if (typeof data === 'number' && typeof pattern === 'string' && new RegExp(pattern).test(`${data}s`))
    return `Write for example ${data}s.`;
  return example === undefined ? 'Correct the value.' : `Write for example ${example}.`;
};

/** A schema, or the definition that it refers to. */
const deref = (part: unknown, schema: Schema): Schema => {
  if (!isObject(part)) return {};
  const [, name] = /^#\/\$defs\/(.*)$/.exec(String(part.$ref)) ?? [];
  return name === undefined ? part : { ...Reflect.get(Object(schema.$defs), name), ...part };
};

/** The first example of a schema, as YAML in one line. */
function exampleOf(part: unknown, schema: Schema): readonly string[] {
  const { examples } = deref(part, schema);
  return Array.isArray(examples) && examples.length > 0 ? [flow(examples[0])] : [];
}

/** A value as YAML in one line. */
const flow = (value: unknown): string => {
  if (Array.isArray(value)) return `[${value.map(flow).join(', ')}]`;
  if (isObject(value))
    return `{${Object.entries(value)
      .map(([name, one]) => `${name}: ${flow(one)}`)
      .join(', ')}}`;
  return String(value);
};
