import { accessReasons } from '@interlock/access';
import type { Expression, Quantity, Term } from '../expression.ts';
import { toMilliseconds } from './duration.ts';
import { runQuantities } from './vocabulary.ts';

/** Why a text is not an expression. `column` counts from 1. */
export interface ExpressionError {
  readonly column: number;
  readonly message: string;
  readonly cure: string;
}

/** An expression, or the first error in its text. `checkExpression` looks the names up. */
export type Parsed = { readonly expression: Expression } | { readonly error: ExpressionError };

/**
 * Parses the text of a condition.
 *
 *   condition = term [operator term]
 *   operator  = "<" | "<=" | "==" | "!=" | ">=" | ">"
 *   term      = ["-"] part { ("+" | "-") part }      at most one quantity, with a plus
 *   part      = name ["." name] | number ["ms" | "s" | "m" | "h"]
 *
 * or `group ".reason" "==" reason`, with a reason of `@interlock/access`.
 *
 * Names contain letters, digits and hyphens, so a subtraction needs spaces around its minus.
 */
export function parseExpression(text: string): Parsed {
  try {
    return { expression: conditionOf(new Tokens(text)) };
  } catch (problem) {
    if (problem instanceof Refused) return { error: problem.error };
    throw problem;
  }
}

const operators = ['<', '<=', '==', '!=', '>=', '>'] as const;
type Operator = (typeof operators)[number];

interface Token {
  readonly kind: 'name' | 'number' | 'operator' | 'sign' | 'end';
  readonly text: string;
  readonly column: number;
}

class Refused extends Error {
  readonly error: ExpressionError;
  constructor(column: number, message: string, cure: string) {
    super(message);
    this.error = { column, message, cure };
  }
}

const patterns: readonly (readonly [Token['kind'], RegExp])[] = [
  ['number', /\d+(?:\.\d+)?[A-Za-z]*/y],
  ['name', /[A-Za-z][\w-]*(?:\.[A-Za-z][\w-]*)*/y],
  ['operator', /<=|>=|==|!=|<|>/y],
  ['sign', /[+-]/y],
];

/** The tokens of a text, one after the other. */
class Tokens {
  readonly #text: string;
  #at = 0;
  #next: Token | undefined;

  constructor(text: string) {
    this.#text = text;
  }

  peek(): Token {
    this.#next ??= this.#read();
    return this.#next;
  }

  take(): Token {
    const token = this.peek();
    this.#next = undefined;
    return token;
  }

  #read(): Token {
    while (/\s/.test(this.#text[this.#at] ?? '')) this.#at += 1;
    const column = this.#at + 1;
    if (this.#at >= this.#text.length) return { kind: 'end', text: '', column };
    for (const [kind, pattern] of patterns) {
      pattern.lastIndex = this.#at;
      const [text] = pattern.exec(this.#text) ?? [];
      if (text === undefined) continue;
      this.#at += text.length;
      return { kind, text, column };
    }
    const wrong = String.fromCodePoint(this.#text.codePointAt(this.#at) ?? 0);
    throw new Refused(column, `"${wrong}" has no meaning here`, cureOfCharacter(wrong));
  }
}

const cureOfCharacter = (wrong: string): string => {
  if (wrong === '=') return 'Write == to compare, or <= or >=.';
  if (wrong === '&' || wrong === '|') return 'Write two conditions, each in an entry of its own.';
  return `Write a comparison such as ${example}.`;
};

const example = 'premium.stopped <= loss + 5s';

function conditionOf(tokens: Tokens): Expression {
  const start = tokens.peek();
  if (start.kind === 'end') throw new Refused(1, 'the condition is empty', `Write a comparison such as ${example}.`);
  const left = termOf(tokens);
  const next = tokens.take();
  if (next.kind === 'end') return stateOf(left, start);
  const operator = operators.find((one) => one === next.text);
  if (operator === undefined)
    throw new Refused(
      next.column,
      `"${next.text}" stands where an operator belongs`,
      `Write one of ${operators.join(' ')}.`,
    );
  const compared = left.quantity?.name === 'reason' ? reasonOf(left, operator, next, tokens) : undefined;
  const right = compared === undefined ? termOf(tokens) : undefined;
  const rest = tokens.take();
  if (rest.kind !== 'end')
    throw new Refused(
      rest.column,
      `"${rest.text}" follows a complete comparison`,
      'Write two conditions, each in an entry of its own.',
    );
  if (compared !== undefined) return compared;
  if (right === undefined) throw new Error('a comparison has two sides');
  return { kind: 'compare', left, operator: operator satisfies Operator, right };
}

/** The comparison of a reason. @throws Refused for another operator than `==`, or an unknown reason */
function reasonOf({ quantity, offset, hasUnit }: Term, operator: Operator, at: Token, tokens: Tokens): Expression {
  const { text, column } = tokens.take();
  const examples = `Write for example ${quantity?.of}.reason == KEY_DISABLED.`;
  if (quantity === undefined || offset !== 0 || hasUnit)
    throw new Refused(at.column, 'nothing can be added to a reason', examples);
  if (operator !== '==') throw new Refused(at.column, `a reason cannot be compared with ${operator}`, examples);
  if (!accessReasons.some((known) => known === text))
    throw new Refused(column, `"${text}" is no reason`, `Write one of ${accessReasons.join(', ')}.`);
  return { kind: 'reason', quantity, reason: text };
}

/** @throws Refused for a term that is more than the name of a state */
function stateOf({ quantity, offset, hasUnit }: Term, start: Token): Expression {
  if (quantity !== undefined && offset === 0 && !hasUnit) return { kind: 'holds', quantity };
  throw new Refused(start.column, 'a sum alone is no condition', `Compare it, for example ${example}.`);
}

function termOf(tokens: Tokens): Term {
  let quantity: Quantity | undefined;
  let offset = 0;
  let hasUnit: boolean | undefined;
  let sign = signOf(tokens) ?? 1;
  for (;;) {
    const token = tokens.take();
    if (token.kind === 'number') {
      const { value, unit } = numberOf(token);
      if (hasUnit !== undefined && hasUnit !== unit)
        throw new Refused(token.column, 'a number and a duration cannot be added', 'Give both a unit, or neither.');
      hasUnit = unit;
      offset += sign * value;
    } else if (token.kind === 'name') {
      quantity = onlyQuantity(token, quantity, sign);
    } else {
      throw new Refused(
        token.column,
        token.kind === 'end' ? 'the condition ends too early' : `"${token.text}" stands where a value belongs`,
        'Write a name such as premium.stopped, or a duration such as 5s.',
      );
    }
    const following = signOf(tokens);
    if (following === undefined)
      return { ...(quantity !== undefined && { quantity }), offset: offset + 0, hasUnit: hasUnit ?? false };
    sign = following;
  }
}

const signOf = (tokens: Tokens): 1 | -1 | undefined => {
  if (tokens.peek().kind !== 'sign') return undefined;
  return tokens.take().text === '-' ? -1 : 1;
};

function onlyQuantity(token: Token, earlier: Quantity | undefined, sign: number): Quantity {
  if (earlier !== undefined || sign < 0)
    throw new Refused(
      token.column,
      sign < 0 ? `${token.text} is subtracted` : `${token.text} is a second quantity on this side`,
      'Put one quantity on each side: instead of a - b <= 5s write a <= b + 5s.',
    );
  const [of = '', name, ...more] = token.text.split('.');
  if (more.length > 0)
    throw new Refused(token.column, `${token.text} has more than one dot`, 'Write <group>.<quantity>.');
  if (name !== undefined) return { of, name };
  // Without a dot: a quantity of the whole run, or the moment at which a step took effect.
  return Object.hasOwn(runQuantities, of) ? { of: '', name: of } : { of, name: 'effect' };
}

function numberOf(token: Token): { readonly value: number; readonly unit: boolean } {
  if (/^[\d.]+$/.test(token.text)) return { value: Number(token.text), unit: false };
  const value = toMilliseconds(token.text);
  if (value === undefined)
    throw new Refused(token.column, `${token.text} has an unknown unit`, 'Write ms, s, m or h, for example 1.5s.');
  return { value, unit: true };
}
