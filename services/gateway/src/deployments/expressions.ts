import { RestError } from '../errors/rest-error.ts';
import { templateFunctions } from './functions.ts';
import { Reference } from './reference.ts';

/** What an expression may read. */
export interface ExpressionScope {
  parameter(name: string): unknown;
  variable(name: string): unknown;
  /** UUID of the subscription, as clients see it. */
  readonly subscription: string;
  readonly tenant: string;
  readonly group: string;
  readonly location: string;
  readonly deployment: string;
}

/** Deepest nesting of calls. */
const depthMax = 32;

/** A refusal of a template. */
export const invalidTemplate = (what: string): RestError =>
  new RestError(400, 'InvalidTemplate', `Deployment template validation failed: ${what}`);

/**
 * The value of a text of a template: `[concat('a', parameters('b'))]` is an expression, `[[a]` means `[a]`, and every other text
 * is itself.
 * @throws RestError 400 InvalidTemplate
 */
export const evaluate = (text: string, scope: ExpressionScope): unknown => {
  if (!text.startsWith('[') || !text.endsWith(']')) return text;
  if (text.startsWith('[[')) return text.slice(1);
  const parser = new Parser(text.slice(1, -1), scope);
  return parser.whole();
};

/** The value with all its texts evaluated. @throws RestError 400 InvalidTemplate */
export const evaluateAll = (value: unknown, scope: ExpressionScope): unknown => {
  if (typeof value === 'string') {
    const found = evaluate(value, scope);
    return found instanceof Reference ? found.toJSON() : found;
  }
  if (Array.isArray(value)) return value.map((one) => evaluateAll(one, scope));
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(
    Object.entries(value).map(([name, member]) => [String(evaluate(name, scope)), evaluateAll(member, scope)]),
  );
};

const token = /\s*(?:'((?:[^']|'')*)'|(-?\d+)|([A-Za-z_]\w*)|([().,[\]]))/y;

interface Token {
  readonly kind: 'text' | 'number' | 'name' | 'mark' | 'end';
  readonly text: string;
}

const end: Token = { kind: 'end', text: 'the end' };

class Parser {
  readonly #tokens: readonly Token[];
  readonly #source: string;
  readonly #scope: ExpressionScope;
  #at = 0;
  #depth = 0;

  constructor(source: string, scope: ExpressionScope) {
    this.#source = source.slice(0, 200);
    this.#scope = scope;
    this.#tokens = this.#tokensOf(source);
  }

  whole(): unknown {
    const value = this.#expression();
    if (this.#next.kind !== 'end') throw this.#invalid(`unexpected ${this.#next.text}`);
    return value;
  }

  #tokensOf(source: string): readonly Token[] {
    const found: Token[] = [];
    const pattern = new RegExp(token);
    const text = source.trimEnd();
    while (pattern.lastIndex < text.length) {
      const at = pattern.lastIndex;
      const [, quoted, number, name, mark] = pattern.exec(text) ?? [];
      if (quoted !== undefined) found.push({ kind: 'text', text: quoted.replaceAll("''", "'") });
      else if (number !== undefined) found.push({ kind: 'number', text: number });
      else if (name !== undefined) found.push({ kind: 'name', text: name });
      else if (mark !== undefined) found.push({ kind: 'mark', text: mark });
      else throw this.#invalid(`unexpected character at ${at + 1}`);
    }
    return found;
  }

  get #next(): Token {
    return this.#tokens[this.#at] ?? end;
  }

  #take(): Token {
    const taken = this.#next;
    this.#at += 1;
    return taken;
  }

  #isMark(mark: string): boolean {
    if (this.#next.kind !== 'mark' || this.#next.text !== mark) return false;
    this.#at += 1;
    return true;
  }

  #expression(): unknown {
    this.#depth += 1;
    if (this.#depth > depthMax) throw this.#invalid(`more than ${depthMax} calls are nested`);
    let value = this.#primary();
    for (;;) {
      if (this.#isMark('.')) value = this.#member(value, this.#take().text);
      else if (this.#isMark('[')) {
        value = this.#member(value, String(this.#expression()));
        if (!this.#isMark(']')) throw this.#invalid(`] is missing before ${this.#next.text}`);
      } else break;
    }
    this.#depth -= 1;
    return value;
  }

  #primary(): unknown {
    const { kind, text } = this.#take();
    if (kind === 'text') return text;
    if (kind === 'number') return Number(text);
    if (kind !== 'name' || !this.#isMark('(')) throw this.#invalid(`a function call or a value is missing at ${text}`);
    const given: unknown[] = [];
    if (!this.#isMark(')')) {
      do given.push(this.#expression());
      while (this.#isMark(','));
      if (!this.#isMark(')')) throw this.#invalid(`) is missing before ${this.#next.text}`);
    }
    return this.#call(text, given);
  }

  #member(value: unknown, name: string): unknown {
    if (value instanceof Reference) return value.member(name);
    const own = Object.entries(typeof value === 'object' && value !== null ? value : {});
    const found = own.find(([known]) => known.toLowerCase() === name.toLowerCase());
    if (found === undefined) throw this.#invalid(`the property '${name.slice(0, 100)}' does not exist`);
    return found[1];
  }

  #call(name: string, given: readonly unknown[]): unknown {
    if (given.some((one) => one instanceof Reference))
      throw this.#invalid('reference must be the whole expression, with members behind it');
    const texts = () => given.map((one) => this.#textOf(one, name));
    switch (name.toLowerCase()) {
      case 'parameters':
        return this.#scope.parameter(this.#textOf(given[0], name));
      case 'variables':
        return this.#scope.variable(this.#textOf(given[0], name));
      case 'concat':
        return this.#concat(given);
      case 'resourceid':
        return this.#resourceId(texts());
      case 'subscriptionresourceid': {
        const [type = '', ...names] = texts().filter((one) => one !== this.#scope.subscription);
        return `/subscriptions/${this.#scope.subscription}${this.#providerPath(type, names)}`;
      }
      case 'extensionresourceid': {
        const [parent = '', type = '', ...names] = texts();
        return `${parent}${this.#providerPath(type, names)}`;
      }
      case 'reference': {
        const [resource = '', , full = ''] = texts();
        return new Reference(resource, full.toLowerCase() === 'full');
      }
      default:
        return this.#placeCall(name) ?? this.#pureCall(name, given);
    }
  }

  /** Functions about the place of the deployment. */
  #placeCall(name: string): unknown {
    const { subscription, tenant, group, location, deployment } = this.#scope;
    switch (name.toLowerCase()) {
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
    if (call !== undefined) return call(given, (what) => this.#invalid(`${name}: ${what}`));
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

  /** `resourceId([subscription,] [group,] type, name, …)` */
  #resourceId(given: readonly string[]): string {
    const at = given.findIndex((one) => /^[\w.]+\.[\w]+\/[\w/]+$/.test(one));
    const type = given[at];
    if (type === undefined || at > 2) throw this.#invalid('resourceId needs a type such as Microsoft.Compute/disks');
    const before = given.slice(0, at);
    const group = before.at(-1) ?? this.#scope.group;
    const subscription = before.length === 2 ? (before[0] ?? '') : this.#scope.subscription;
    return `/subscriptions/${subscription}/resourceGroups/${group}${this.#providerPath(type, given.slice(at + 1))}`;
  }

  #providerPath(type: string, names: readonly string[]): string {
    const [namespace = '', ...kinds] = type.split('/');
    if (kinds.length !== names.length) {
      throw this.#invalid(`the type ${type.slice(0, 100)} needs ${kinds.length} names (got ${names.length})`);
    }
    return `/providers/${namespace}${kinds.map((kind, at) => `/${kind}/${names[at]}`).join('')}`;
  }

  #invalid(what: string): RestError {
    return invalidTemplate(`the expression '[${this.#source}]' is not valid: ${what}.`);
  }
}
