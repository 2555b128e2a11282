import type { Json } from '@interlock/event-store';
import { type Static, Type } from '@sinclair/typebox';
import type { RestError } from '../errors/rest-error.ts';
import { membersOf } from '../text/members.ts';
import { stepsMax, type Work } from '../text/work.ts';
import { canonical } from './canonical.ts';
import { type ExpressionScope, evaluate, evaluateAll, invalidTemplate, isPlain } from './expressions.ts';
import { inOrder } from './order.ts';
import { Reference, referredIn } from './reference.ts';

const Anything = Type.Unknown();

/** A resource of a template. Every other member is part of its body. */
const TemplateResource = Type.Object({
  type: Type.String({ maxLength: 200 }),
  apiVersion: Type.String({ maxLength: 50 }),
  name: Type.String({ maxLength: 1_000 }),
  scope: Type.Optional(Type.String({ maxLength: 1_000 })),
  dependsOn: Type.Optional(Type.Array(Type.String({ maxLength: 1_000 }), { maxItems: 800 })),
  condition: Type.Optional(Type.Union([Type.Boolean(), Type.String()])),
});

/** Most resources, parameters, variables and outputs of a template, as in the public cloud. */
const resourcesMax = 800;
const parametersMax = 256;
const variablesMax = 512;
const outputsMax = 64;
/** Longest name of a parameter or variable, in characters. */
const nameLengthMax = 1_000;

const Parameter = Type.Object({
  type: Type.String(),
  defaultValue: Type.Optional(Anything),
  allowedValues: Type.Optional(Type.Array(Anything)),
});

/** Steps of finding a resource that another one depends on. */
const stepsOfDependency = 30;

const named = { propertyNames: { maxLength: nameLengthMax } } as const;

/** A template: the part of its language that is served. */
export const Template = Type.Object({
  contentVersion: Type.Optional(Type.String()),
  parameters: Type.Optional(membersOf(Parameter, { ...named, maxProperties: parametersMax })),
  variables: Type.Optional(membersOf(Anything, { ...named, maxProperties: variablesMax })),
  resources: Type.Array(TemplateResource, { maxItems: resourcesMax }),
  outputs: Type.Optional(
    membersOf(Type.Object({ type: Type.String(), value: Type.Optional(Anything) }), {
      ...named,
      maxProperties: outputsMax,
    }),
  ),
});

/** Values of parameters, as a deployment gives them. */
export const Parameters = membersOf(Type.Object({ value: Type.Optional(Anything) }), {
  ...named,
  maxProperties: parametersMax,
});

/** A resource without expressions. */
export interface ResolvedResource {
  readonly type: string;
  readonly name: string;
  /** ARM id. */
  readonly id: string;
  readonly apiVersion: string;
  readonly body: { readonly [member: string]: Json };
}

/** A template without expressions, its resources in the order in which they are put. */
export interface ResolvedTemplate {
  readonly resources: readonly ResolvedResource[];
  /** Without the values of secure parameters. */
  readonly parameters: { readonly [name: string]: Json };
  readonly outputs: { readonly [name: string]: Json };
}

/** What an expression may read of the place of the deployment. */
export type Place = Pick<ExpressionScope, 'subscription' | 'tenant' | 'group' | 'location' | 'deployment'>;

/** Replaces the value of a secure parameter. No resource here takes a secret, so none is stored. */
const withheld = '(secure)';

const isSecure = (type: string): boolean => type.toLowerCase().startsWith('secure');

/**
 * Evaluates a template.
 * @param work the budget of the request, which refuses as `templateLimits` say
 * @throws RestError 400 InvalidTemplate
 */
export const resolveTemplate = async (
  template: Static<typeof Template>,
  given: Static<typeof Parameters>,
  place: Place,
  work: Work,
): Promise<ResolvedTemplate> => {
  const scope = scopeOf(template, given, place, work);
  const wanted: WantedResource[] = [];
  for (const resource of template.resources) wanted.push(await resolved(resource, scope));
  const resources = inOrder(withReferred(wanted))
    .filter(({ isWanted }) => isWanted)
    .map(({ isWanted: _isWanted, dependsOn: _dependsOn, ...resource }) => resource);
  const parameters: [string, Json][] = [];
  for (const [name, { type }] of Object.entries(template.parameters ?? {})) {
    const shown = isSecure(type) ? { type } : { type, value: (await scope.parameter(name)) as Json };
    parameters.push([name, shown]);
  }
  const outputs: [string, Json][] = [];
  for (const [name, { type, value }] of Object.entries(template.outputs ?? {})) {
    outputs.push([name, { type, value: (await evaluateAll(value, scope)) as Json }]);
  }
  const result: ResolvedTemplate = {
    resources,
    parameters: Object.fromEntries(parameters),
    outputs: Object.fromEntries(outputs),
  };
  checkResult(result, work);
  return result;
};

/** Limits of the evaluation of a template. */
export const templateLimits = {
  refuse: (what: string): RestError => invalidTemplate(`the template is too large: ${what}.`),
  stepsMax,
} as const;

/** Refuses what cannot be stored or done: the result is written as JSON, and clients read all of it. */
const checkResult = (result: ResolvedTemplate, work: Work): void => {
  work.make(work.sizeOf(result));
  const referred = new Set(referredIn(result).map(lower));
  if (referred.size > resourcesMax) {
    throw invalidTemplate(`it refers to ${referred.size} resources; at most ${resourcesMax} are allowed.`);
  }
  const check = (value: unknown): void => {
    if (typeof value === 'string' && (!value.isWellFormed() || value.includes('\u0000'))) {
      throw invalidTemplate('a text has the character U+0000 or half of a surrogate pair, which cannot be stored.');
    }
    if (typeof value !== 'object' || value === null) return;
    for (const [name, member] of Object.entries(value)) {
      check(name);
      check(member);
    }
  };
  check(result);
};

/** The first of the members whose names are equal in any case, by the name in lower case. */
const byName = <Value>(all: Readonly<Record<string, Value>>): ReadonlyMap<string, Value> => {
  const found = new Map<string, Value>();
  for (const [name, value] of Object.entries(all)) {
    if (!found.has(name.toLowerCase())) found.set(name.toLowerCase(), value);
  }
  return found;
};

const scopeOf = (
  template: Static<typeof Template>,
  given: Static<typeof Parameters>,
  place: Place,
  work: Work,
): ExpressionScope => {
  const [parameters, variables, values] = [
    byName(template.parameters ?? {}),
    byName(template.variables ?? {}),
    byName(given),
  ];
  for (const name of Object.keys(given)) {
    if (parameters.has(name.toLowerCase())) continue;
    throw invalidTemplate(`the template has no parameter '${name.slice(0, 100)}', and a value is given for it.`);
  }
  const inProgress = new Set<string>();
  const known = new Map<string, unknown>();
  const once = async (what: string, evaluated: () => Promise<unknown>): Promise<unknown> => {
    if (known.has(what)) return known.get(what);
    if (inProgress.has(what)) throw invalidTemplate(`${what} refers to itself.`);
    inProgress.add(what);
    const value = await evaluated();
    work.sizeOf(value);
    known.set(what, value);
    return value;
  };
  const scope: ExpressionScope = {
    ...place,
    work,
    parameter: (name) =>
      once(`the parameter '${name.toLowerCase()}'`, async () => {
        const declared = parameters.get(name.toLowerCase());
        if (declared === undefined) throw invalidTemplate(`the parameter '${name.slice(0, 100)}' does not exist.`);
        const value = values.get(name.toLowerCase())?.value ?? (await evaluateAll(declared.defaultValue, scope));
        checkParameter(name, declared, value);
        return isSecure(declared.type) ? withheld : value;
      }),
    variable: (name) =>
      once(`the variable '${name.toLowerCase()}'`, async () => {
        const declared = variables.get(name.toLowerCase());
        if (declared === undefined) throw invalidTemplate(`the variable '${name.slice(0, 100)}' does not exist.`);
        return evaluateAll(declared, scope);
      }),
  };
  return scope;
};

const kinds: Readonly<Record<string, (value: unknown) => boolean>> = {
  string: (value) => typeof value === 'string',
  securestring: (value) => typeof value === 'string',
  int: Number.isInteger,
  bool: (value) => typeof value === 'boolean',
  array: Array.isArray,
  object: (value) => typeof value === 'object' && value !== null && !Array.isArray(value),
  secureobject: (value) => typeof value === 'object' && value !== null && !Array.isArray(value),
};

const isAmong = (allowed: readonly unknown[], value: unknown): boolean => {
  const wanted = canonical(value);
  return allowed.some((one) => canonical(one) === wanted);
};

const checkParameter = (name: string, { type, allowedValues }: Static<typeof Parameter>, value: unknown): void => {
  const kind = type.toLowerCase();
  const fits = Object.hasOwn(kinds, kind) ? kinds[kind] : undefined;
  if (fits === undefined)
    throw invalidTemplate(`the type '${type.slice(0, 50)}' of the parameter '${name}' is unknown.`);
  if (value === undefined) throw invalidTemplate(`the parameter '${name}' has no value.`);
  if (!fits(value)) throw invalidTemplate(`the value of the parameter '${name}' is not of type ${type}.`);
  if (allowedValues !== undefined && !isAmong(allowedValues, value)) {
    throw invalidTemplate(`the value of the parameter '${name}' is not among its allowed values.`);
  }
};

/** Members that a resource does not get in its body. */
const outer = new Set(['type', 'apiVersion', 'name', 'scope', 'dependsOn', 'condition', 'comments']);
const unsupported = ['copy', 'resources', 'existing'];

interface WantedResource extends ResolvedResource {
  readonly dependsOn: readonly string[];
  /** False for a false condition. */
  readonly isWanted: boolean;
}

/** A resource also depends on those of the template that it refers to. */
const withReferred = (resources: readonly WantedResource[]): readonly WantedResource[] => {
  const known = new Set(resources.flatMap(({ id, type, name }) => [id, `${type}/${name}`, name].map(lower)));
  return resources.map((one) => ({
    ...one,
    dependsOn: [...one.dependsOn, ...referredIn(one.body).filter((resource) => known.has(lower(resource)))],
  }));
};

const lower = (text: string): string => text.toLowerCase();

/** The text of an expression that must be known before anything is deployed. */
const knownText = async (given: string, member: string, scope: ExpressionScope): Promise<string> => {
  const value = await evaluate(given, scope);
  if (typeof value === 'string') return value;
  if (!(value instanceof Reference)) throw invalidTemplate(`'${member}' must be a text (got ${typeof value}).`);
  throw invalidTemplate(`'${member}' must be known before the deployment, so it must not contain reference().`);
};

/** A resource in a group, with what it depends on. */
const resolved = async (resource: Static<typeof TemplateResource>, scope: ExpressionScope): Promise<WantedResource> => {
  for (const member of unsupported) {
    if (Object.hasOwn(resource, member)) {
      throw invalidTemplate(`the member '${member}' of the resource '${resource.name}' is not supported.`);
    }
  }
  const body = Object.fromEntries(Object.entries(resource).filter(([member]) => !outer.has(member)));
  const name = await knownText(resource.name, 'name', scope);
  const within = resource.scope === undefined ? undefined : await knownText(resource.scope, 'scope', scope);
  const dependsOn: string[] = [];
  for (const one of resource.dependsOn ?? [])
    dependsOn.push(isPlain(one) ? one : await knownText(one, 'dependsOn', scope));
  scope.work.spend(stepsOfDependency * dependsOn.length);
  await scope.work.yieldIfDue();
  const found = await evaluateAll(body, scope);
  scope.work.sizeOf(found);
  return {
    type: resource.type,
    name,
    id: idOf(resource.type, name, within, scope),
    apiVersion: resource.apiVersion,
    body: found as ResolvedResource['body'],
    dependsOn,
    isWanted: (await evaluateAll(resource.condition ?? true, scope)) === true,
  };
};

const idOf = (
  type: string,
  name: string,
  within: string | undefined,
  { subscription, group }: ExpressionScope,
): string => {
  const [namespace = '', ...levels] = type.split('/');
  const names = name.split('/');
  if (levels.length === 0 || levels.length !== names.length) {
    throw invalidTemplate(
      `the resource '${name.slice(0, 200)}' of type '${type}' needs as many names as its type has levels.`,
    );
  }
  const groupId = `/subscriptions/${subscription}/resourceGroups/${group}`;
  const [, provider, rest] = /^\/?([\w.]+\.\w+)\/(.+)$/.exec(within ?? '') ?? [];
  const relative = provider === undefined ? '' : `${groupId}/providers/${provider}/${rest}`;
  const parent = within?.startsWith('/subscriptions/') === true ? within : relative || groupId;
  return `${parent}/providers/${namespace}${levels.map((level, at) => `/${level}/${names[at]}`).join('')}`;
};
