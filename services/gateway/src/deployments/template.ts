import type { Json } from '@interlock/event-store';
import { type Static, Type } from '@sinclair/typebox';
import { type ExpressionScope, evaluateAll, invalidTemplate } from './expressions.ts';
import { inOrder } from './order.ts';
import { referenceIn, referredIn } from './reference.ts';

const Anything = Type.Unknown();
const Texts = Type.Record(Type.String(), Anything);

/** A resource of a template. Every other member is part of its body. */
const TemplateResource = Type.Object({
  type: Type.String({ maxLength: 200 }),
  apiVersion: Type.String({ maxLength: 50 }),
  name: Type.String({ maxLength: 1_000 }),
  scope: Type.Optional(Type.String({ maxLength: 1_000 })),
  dependsOn: Type.Optional(Type.Array(Type.String({ maxLength: 1_000 }), { maxItems: 800 })),
  condition: Type.Optional(Type.Union([Type.Boolean(), Type.String()])),
});

/** Most resources of a template, as in the public cloud. */
const resourcesMax = 800;

const Parameter = Type.Object({
  type: Type.String(),
  defaultValue: Type.Optional(Anything),
  allowedValues: Type.Optional(Type.Array(Anything)),
});

/** A template: the part of its language that is served. */
export const Template = Type.Object({
  contentVersion: Type.Optional(Type.String()),
  parameters: Type.Optional(Type.Record(Type.String(), Parameter)),
  variables: Type.Optional(Texts),
  resources: Type.Array(TemplateResource, { maxItems: resourcesMax }),
  outputs: Type.Optional(
    Type.Record(Type.String(), Type.Object({ type: Type.String(), value: Type.Optional(Anything) })),
  ),
});

/** Values of parameters, as a deployment gives them. */
export const Parameters = Type.Record(Type.String(), Type.Object({ value: Type.Optional(Anything) }));

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

/** Evaluates a template. @throws RestError 400 InvalidTemplate */
export const resolveTemplate = (
  template: Static<typeof Template>,
  given: Static<typeof Parameters>,
  place: Place,
): ResolvedTemplate => {
  const scope = scopeOf(template, given, place);
  const resources = inOrder(withReferred(template.resources.map((resource) => resolved(resource, scope))));
  const declared = Object.entries(template.parameters ?? {});
  return {
    resources: resources
      .filter(({ isWanted }) => isWanted)
      .map(({ isWanted: _isWanted, dependsOn: _dependsOn, ...resource }) => resource),
    parameters: Object.fromEntries(
      declared.map(([name, { type }]) => [
        name,
        isSecure(type) ? { type } : { type, value: scope.parameter(name) as Json },
      ]),
    ),
    outputs: Object.fromEntries(
      Object.entries(template.outputs ?? {}).map(([name, { type, value }]) => [
        name,
        { type, value: evaluateAll(value, scope) as Json },
      ]),
    ),
  };
};

const scopeOf = (
  { parameters = {}, variables = {} }: Static<typeof Template>,
  given: Static<typeof Parameters>,
  place: Place,
): ExpressionScope => {
  const find = <Value>(all: Readonly<Record<string, Value>>, name: string): Value | undefined =>
    Object.entries(all).find(([known]) => known.toLowerCase() === name.toLowerCase())?.[1];
  for (const name of Object.keys(given)) {
    if (find(parameters, name) !== undefined) continue;
    throw invalidTemplate(`the template has no parameter '${name.slice(0, 100)}', and a value is given for it.`);
  }
  const inProgress = new Set<string>();
  const known = new Map<string, unknown>();
  const once = (what: string, evaluated: () => unknown): unknown => {
    if (known.has(what)) return known.get(what);
    if (inProgress.has(what)) throw invalidTemplate(`${what} refers to itself.`);
    inProgress.add(what);
    const value = bounded(evaluated(), what);
    known.set(what, value);
    return value;
  };
  const scope: ExpressionScope = {
    ...place,
    parameter: (name) => {
      const declared = find(parameters, name);
      if (declared === undefined) throw invalidTemplate(`the parameter '${name.slice(0, 100)}' does not exist.`);
      const value =
        find(given, name)?.value ??
        once(`the parameter '${name.toLowerCase()}'`, () => evaluateAll(declared.defaultValue, scope));
      checkParameter(name, declared, value);
      return isSecure(declared.type) ? withheld : value;
    },
    variable: (name) => {
      const declared = find(variables, name);
      if (declared === undefined) throw invalidTemplate(`the variable '${name.slice(0, 100)}' does not exist.`);
      return once(`the variable '${name.toLowerCase()}'`, () => evaluateAll(declared, scope));
    },
  };
  return scope;
};

/** Largest value that an expression may make, in characters and members. */
const sizeMax = 1_000_000;

/** Refuses a value that refers to others again and again until it fills the memory. */
const bounded = (value: unknown, what: string): unknown => {
  let left = sizeMax;
  const count = (one: unknown): void => {
    left -= typeof one === 'string' ? one.length + 1 : 1;
    if (left < 0) throw invalidTemplate(`${what.slice(0, 200)} is larger than ${sizeMax} characters.`);
    if (typeof one === 'object' && one !== null) for (const member of Object.values(one)) count(member);
  };
  count(value);
  return value;
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

const checkParameter = (name: string, { type, allowedValues }: Static<typeof Parameter>, value: unknown): void => {
  const kind = type.toLowerCase();
  const fits = Object.hasOwn(kinds, kind) ? kinds[kind] : undefined;
  if (fits === undefined)
    throw invalidTemplate(`the type '${type.slice(0, 50)}' of the parameter '${name}' is unknown.`);
  if (value === undefined) throw invalidTemplate(`the parameter '${name}' has no value.`);
  if (!fits(value)) throw invalidTemplate(`the value of the parameter '${name}' is not of type ${type}.`);
  if (allowedValues !== undefined && !allowedValues.includes(value)) {
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
const knownText = (value: unknown, member: string): string => {
  if (referenceIn(value) === undefined) return String(value);
  throw invalidTemplate(`'${member}' must be known before the deployment, so it must not contain reference().`);
};

/** A resource in a group, with what it depends on. */
const resolved = (resource: Static<typeof TemplateResource>, scope: ExpressionScope): WantedResource => {
  for (const member of unsupported) {
    if (Object.hasOwn(resource, member)) {
      throw invalidTemplate(`the member '${member}' of the resource '${resource.name}' is not supported.`);
    }
  }
  const body = Object.fromEntries(Object.entries(resource).filter(([member]) => !outer.has(member)));
  const name = knownText(evaluateAll(resource.name, scope), 'name');
  const within = resource.scope === undefined ? undefined : knownText(evaluateAll(resource.scope, scope), 'scope');
  return {
    type: resource.type,
    name,
    id: idOf(resource.type, name, within, scope),
    apiVersion: resource.apiVersion,
    body: bounded(evaluateAll(body, scope), `the resource '${name}'`) as ResolvedResource['body'],
    dependsOn: (resource.dependsOn ?? []).map((one) => knownText(evaluateAll(one, scope), 'dependsOn')),
    isWanted: evaluateAll(resource.condition ?? true, scope) === true,
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
    throw invalidTemplate(`the resource '${name}' of type '${type}' needs as many names as its type has levels.`);
  }
  const groupId = `/subscriptions/${subscription}/resourceGroups/${group}`;
  const [, provider, rest] = /^\/?([\w.]+\.\w+)\/(.+)$/.exec(within ?? '') ?? [];
  const relative = provider === undefined ? '' : `${groupId}/providers/${provider}/${rest}`;
  const parent = within?.startsWith('/subscriptions/') === true ? within : relative || groupId;
  return `${parent}/providers/${namespace}${levels.map((level, at) => `/${level}/${names[at]}`).join('')}`;
};
