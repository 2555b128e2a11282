import { RestError } from '../errors/rest-error.ts';
import { type Lexicon, Scanner } from '../text/scanner.ts';
import type { Work } from '../text/work.ts';
import { templateFunctions } from './functions.ts';
import { providerPath, resourceIdOf } from './ids.ts';
import { Reference } from './reference.ts';

/** What an expression may read, and the budget of the request that it is part of. */
export interface ExpressionScope {
  parameter(name: string): Promise<unknown>;
  variable(name: string): Promise<unknown>;
  readonly work: Work;
  /** UUID of the subscription, as clients see it. */
  readonly subscription: string;
  readonly tenant: string;
  readonly group: string;
  readonly location: string;
  readonly deployment: string;
}

/** Deepest nesting of calls in one expression. */
const depthMax = 32;
/** Longest expression in characters, as in the public cloud. */
export const expressionLengthMax = 24_576;
/** Steps of comparing the name of a member in any case. */
const stepsOfMember = 20;
/** Longest text of an error that repeats what the template has. */
const messageLengthMax = 1_000;

/** A refusal of a template. */
export const invalidTemplate = (what: string): RestError =>
  new RestError(400, 'InvalidTemplate', `Deployment template validation failed: ${what.slice(0, messageLengthMax)}`);

/** Whether a text has to be evaluated: `[concat('a', parameters('b'))]` is an expression, `[[a]` means `[a]`. */
const isExpression = (value: unknown): value is string =>
  typeof value === 'string' && value.startsWith('[') && value.endsWith(']');

/**
 * The value of a text of a template: `[concat('a', parameters('b'))]` is an expression, `[[a]` means `[a]`, and every other text
 * is itself.
 * @throws RestError 400 InvalidTemplate
 */
export const evaluate = async (text: string, scope: ExpressionScope): Promise<unknown> => {
  if (!isExpression(text)) return text;
  if (text.startsWith('[[')) return text.slice(1);
  scope.work.spend(text.length);
  return scope.work.within(() => new Parser(text.slice(1, -1), scope).whole());
};

/** The value with all its texts evaluated. @throws RestError 400 InvalidTemplate */
export const evaluateAll = async (value: unknown, scope: ExpressionScope): Promise<unknown> => {
  if (typeof value === 'string') {
    const found = await evaluate(value, scope);
    return found instanceof Reference ? found.toJSON() : found;
  }
  if (typeof value !== 'object' || value === null) return value;
  return scope.work.within<unknown>(() => (Array.isArray(value) ? allOf(value, scope) : membersOf(value, scope)));
};

/** Whether a value has nothing to evaluate. Most of a template is plain, and only the rest costs promises. */
export const isPlain = (value: unknown): boolean =>
  (typeof value !== 'object' || value === null) && !isExpression(value);

const allOf = async (values: readonly unknown[], scope: ExpressionScope): Promise<readonly unknown[]> => {
  scope.work.spend(values.length);
  const found: unknown[] = [];
  for (const one of values) found.push(isPlain(one) ? one : await evaluateAll(one, scope));
  return found;
};

const membersOf = async (value: object, scope: ExpressionScope): Promise<Readonly<Record<string, unknown>>> => {
  const members = Object.entries(value);
  scope.work.spend(members.length);
  const found: [string, unknown][] = [];
  for (const [name, member] of members) {
    const shown = isExpression(name) ? await evaluate(name, scope) : name;
    if (typeof shown !== 'string')
      throw invalidTemplate(`the name '${name.slice(0, 200)}' of a member must be a text.`);
    found.push([shown, isPlain(member) ? member : await evaluateAll(member, scope)]);
  }
  return Object.fromEntries(found);
};

/** How expressions are written. */
export const expressionLexicon = (source: string): Lexicon => ({
  what: 'it',
  lengthMax: expressionLengthMax,
  invalid: (what) => invalidExpression(source, what),
});

const invalidExpression = (source: string, what: string): RestError =>
  invalidTemplate(`the expression '[${source.slice(0, 200)}]' is not valid: ${what}.`);

/** Evaluates an expression while it reads it. */
class Parser {
  readonly #scanner: Scanner;
  readonly #source: string;
  readonly #scope: ExpressionScope;
  #depth = 0;

  constructor(source: string, scope: ExpressionScope) {
    this.#source = source;
    this.#scope = scope;
    this.#scanner = new Scanner(source, expressionLexicon(source));
  }

  async whole(): Promise<unknown> {
    const value = await this.#expression();
    if (!this.#scanner.isAtEnd()) throw this.#scanner.unexpected('the end');
    return value;
  }

  async #expression(): Promise<unknown> {
    this.#depth += 1;
    if (this.#depth > depthMax) throw this.#invalid(`more than ${depthMax} calls are nested`);
    let value = await this.#scope.work.within(() => this.#primary());
    for (;;) {
      if (this.#scanner.hasMark('.')) value = this.#member(value, this.#scanner.expect('word', 'the name of a member'));
      else if (this.#scanner.hasMark('[')) {
        value = this.#member(value, await this.#expression());
        this.#scanner.expectMark(']');
      } else break;
    }
    this.#depth -= 1;
    return value;
  }

  async #primary(): Promise<unknown> {
    const { kind } = this.#scanner.next;
    if (kind === 'text') return this.#scanner.take().text;
    const sign = this.#scanner.hasMark('-') ? '-' : '';
    const word = this.#scanner.expect('word', sign === '' ? 'a function call or a value' : 'a number');
    if (/^\d+$/.test(word)) return this.#number(`${sign}${word}`);
    if (sign !== '') throw this.#invalid(`${sign}${word.slice(0, 50)} is not a number`);
    this.#scanner.expectMark('(');
    const given: unknown[] = [];
    if (!this.#scanner.hasMark(')')) {
      do given.push(await this.#expression());
      while (this.#scanner.hasMark(','));
      this.#scanner.expectMark(')');
    }
    return this.#call(word, given);
  }

  #number(text: string): number {
    const value = Number(text);
    if (Number.isSafeInteger(value)) return value;
    throw this.#invalid(`${text.slice(0, 50)} is not a whole number up to ${Number.MAX_SAFE_INTEGER}`);
  }

  #member(value: unknown, name: unknown): unknown {
    const wanted = typeof name === 'number' ? String(name) : this.#textOf(name, 'a member');
    if (value instanceof Reference) {
      if (value.path.length < depthMax) return value.member(wanted);
      throw this.#invalid(`more than ${depthMax} members follow a reference`);
    }
    if (Array.isArray(value) && /^\d+$/.test(wanted) && Number(wanted) < value.length) {
      return value[Number(wanted)] as unknown;
    }
    const own = typeof value === 'object' && value !== null && !Array.isArray(value) ? value : {};
    if (Object.hasOwn(own, wanted)) return (own as Readonly<Record<string, unknown>>)[wanted];
    const members = Object.entries(own);
    this.#scope.work.spend(stepsOfMember * members.length);
    const found = members.find(([known]) => known.toLowerCase() === wanted.toLowerCase());
    if (found === undefined) throw this.#invalid(`the property '${wanted.slice(0, 100)}' does not exist`);
    return found[1];
  }

  /** Arguments are counted before the call, and its value after it: a function cannot make much more of little. */
  async #call(name: string, given: readonly unknown[]): Promise<unknown> {
    const { work } = this.#scope;
    if (given.some((one) => one instanceof Reference))
      throw this.#invalid('reference must be the whole expression, with members behind it');
    const known = name.toLowerCase();
    if (known === 'parameters') return this.#scope.parameter(this.#textOf(given[0], name));
    if (known === 'variables') return this.#scope.variable(this.#textOf(given[0], name));
    const bytes = given.reduce<number>((sum, one) => sum + work.sizeOf(one), 0);
    if (bytes > argumentBytesMax)
      throw this.#invalid(`${name}: the arguments are larger than ${argumentBytesMax} bytes`);
    work.spend(bytes);
    const value = this.#placeCall(known, given) ?? this.#pureCall(name, given);
    work.make(work.sizeOf(value));
    await work.yieldIfDue();
    return value;
  }

  /** Functions about the place of the deployment and its resources. */
  #placeCall(name: string, given: readonly unknown[]): unknown {
    const { subscription, tenant, group, location, deployment } = this.#scope;
    const texts = () => given.map((one) => this.#textOf(one, name));
    const fail = (what: string): Error => this.#invalid(what);
    switch (name) {
      case 'concat':
        return this.#concat(given);
      case 'resourceid':
        return resourceIdOf(texts(), { subscription, group }, fail);
      case 'subscriptionresourceid': {
        const [type = '', ...names] = texts().filter((one) => one !== subscription);
        return `/subscriptions/${subscription}${providerPath(type, names, fail)}`;
      }
      case 'extensionresourceid': {
        const [parent = '', type = '', ...names] = texts();
        return `${parent}${providerPath(type, names, fail)}`;
      }
      case 'reference': {
        const [resource = '', , full = ''] = texts();
        return new Reference(resource, full.toLowerCase() === 'full');
      }
      case 'resourcegroup':
        return { id: `/subscriptions/${subscription}/resourceGroups/${group}`, name: group, location };
      case 'subscription':
        return { id: `/subscriptions/${subscription}`, subscriptionId: subscription, tenantId: tenant };
      case 'tenant':
        return { tenantId: tenant };
      case 'deployment':
        return { name: deployment };
      default:
        return undefined;
    }
  }

  #pureCall(name: string, given: readonly unknown[]): unknown {
    const known = name.toLowerCase();
    const call = Object.hasOwn(templateFunctions, known) ? templateFunctions[known] : undefined;
    const fail = (what: string): Error => this.#invalid(`${name}: ${what}`);
    if (call !== undefined) return call(given, { fail, work: this.#scope.work });
    throw this.#invalid(
      `the function '${name.slice(0, 100)}' is not supported: use parameters, variables, resourceId, reference, resourceGroup, subscription, tenant, deployment, ${Object.keys(templateFunctions).join(', ')}, concat, subscriptionResourceId or extensionResourceId`,
    );
  }

  #textOf(value: unknown, name: string): string {
    if (typeof value === 'string') return value;
    throw this.#invalid(`${name} takes texts (got ${typeof value})`);
  }

  #concat(given: readonly unknown[]): unknown {
    if (given.length > 0 && given.every(Array.isArray)) return given.flat(1);
    if (given.every((one) => ['string', 'number', 'boolean'].includes(typeof one))) return given.map(String).join('');
    throw this.#invalid('concat takes texts and numbers, or arrays alone');
  }

  #invalid(what: string): RestError {
    return invalidExpression(this.#source, what);
  }
}

/** Largest arguments of one call together, in bytes: a call computes without a pause. */
const argumentBytesMax = 2_000_000;
