import { isFaultTarget } from '../../experiment.ts';
import type { Expression, Quantity, Term } from '../../expression.ts';
import { limit as limitOf } from '../html.ts';

/** What happens to a group, up to the limit. */
const moments: Readonly<Record<string, (group: string) => string>> = {
  lastGoodRead: (group) => `the last good read of ${group} completes`,
  lastGoodWrite: (group) => `the last good write of ${group} completes`,
  lastGoodIo: (group) => `the last good read or write of ${group} completes`,
  stopped: (group) => `the last machine of ${group} is off`,
  startRefused: (group) => `a start in ${group} is refused`,
  moved: (group) => `the last machine of ${group} runs at another VM host`,
  disksMoved: (group) => `the last disk of ${group} is at another disk host`,
  fenced: (group) => `the last machine of ${group} is off by its closed disks`,
  back: (group) => `the last machine of ${group} works again`,
};

const limits: Readonly<Record<string, string>> = {
  '<=': 'at most',
  '<': 'less than',
  '>=': 'at least',
  '>': 'more than',
  '==': 'exactly',
  '!=': 'not exactly',
};

const counts: Readonly<Record<string, (group: string, count: string) => string>> = {
  failed: (group, count) => `${group} has ${count} failed operations`,
  mismatches: (group, count) => `${group} reads wrong content ${count} times`,
  bytesLost: (_, count) => `${count} acknowledged bytes are lost`,
  bytesCompared: (_, count) => `${count} bytes are compared`,
};

/** An expectation as a sentence without its full stop; undefined if it has only its own text. */
export function inWords(expression: Expression): string | undefined {
  if (expression.kind === 'holds') return stateInWords(expression.quantity);
  if (expression.kind === 'reason') return `${expression.quantity.of} stops for ${expression.reason}`;
  const { left, operator, right } = expression;
  const limit = limits[operator] ?? operator;
  if (left.quantity === undefined || left.offset !== 0) return undefined;
  const { of, name } = left.quantity;
  const count = counts[name];
  if (count !== undefined && right.quantity === undefined) return count(of, countInWords(limit, right.offset));
  if (name === 'gap' && right.quantity === undefined)
    return `${of} waits ${limit} ${limitOf(right.offset)} between two good operations`;
  const moment = moments[name];
  if (moment === undefined) return undefined;
  return `${moment(of)} ${limit} ${whenInWords(right, name)}`;
}

const countInWords = (limit: string, count: number): string =>
  count === 0 && (limit === 'exactly' || limit === 'at most') ? 'no' : `${limit} ${count.toLocaleString('en')}`;

function stateInWords({ of, name }: Quantity): string | undefined {
  if (name === 'running') return `${of} keeps running`;
  return name === 'isStopped' ? `${of} is off` : undefined;
}

/** Compared with a duration, a moment counts from the loss, and the return from the step that restored access. */
function whenInWords({ quantity, offset }: Term, measured: string): string {
  const time = limitOf(Math.abs(offset));
  if (quantity === undefined) return `${time} after access is ${measured === 'back' ? 'given back' : 'lost'}`;
  return `${time} ${offset < 0 ? 'before' : 'after'} ${momentInWords(quantity)}`;
}

function momentInWords({ of, name }: Quantity): string {
  if (isFaultTarget(of)) return `${of} is ${name}`;
  if (moments[name] !== undefined) return `${of}.${name}`;
  return name === 'injected' ? `“${of}” is injected` : `“${of}” takes effect`;
}
