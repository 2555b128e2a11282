import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Expression, Quantity } from '../../expression.ts';
import { inWords } from './expectation-words.ts';

const compare = (
  left: Quantity,
  operator: Extract<Expression, { kind: 'compare' }>['operator'],
  offset: number,
  right?: Quantity,
): Expression => ({
  kind: 'compare',
  left: { quantity: left, offset: 0, hasUnit: false },
  operator,
  right: { ...(right === undefined ? {} : { quantity: right }), offset, hasUnit: true },
});

test('gives expectations as sentences', () => {
  const sentences: readonly (readonly [Expression, string])[] = [
    [
      compare({ of: 'premium', name: 'stopped' }, '<=', 5_000, { of: 'key-vault', name: 'resumed' }),
      'the last machine of premium is off at most 5 s after key-vault is resumed',
    ],
    [
      compare({ of: 'premium', name: 'lastGoodRead' }, '<', -200, { of: 'loss', name: 'injected' }),
      'the last good read of premium completes less than 200 ms before “loss” is injected',
    ],
    [
      compare({ of: 'premium', name: 'back' }, '<=', 30_000),
      'the last machine of premium works again at most 30 s after access is given back',
    ],
    [
      compare({ of: 'premium', name: 'startRefused' }, '<=', 1_500),
      'a start in premium is refused at most 1.5 s after access is lost',
    ],
    [compare({ of: 'control', name: 'gap' }, '<=', 120_000), 'control waits at most 2 min between two good operations'],
    [compare({ of: 'control', name: 'failed' }, '==', 0), 'control has no failed operations'],
    [compare({ of: 'premium', name: 'failed' }, '>=', 10), 'premium has at least 10 failed operations'],
    [compare({ of: '', name: 'bytesCompared' }, '>', 1_000), 'more than 1,000 bytes are compared'],
    [{ kind: 'holds', quantity: { of: 'ultra', name: 'running' } }, 'ultra keeps running'],
    [{ kind: 'holds', quantity: { of: 'premium', name: 'isStopped' } }, 'premium is off'],
  ];
  for (const [expression, sentence] of sentences) assert.equal(inWords(expression), sentence);
});

test('gives no sentence for an unknown quantity or form', () => {
  assert.equal(inWords(compare({ of: 'premium', name: 'unknown' }, '<=', 1)), undefined);
  assert.equal(
    inWords({
      kind: 'compare',
      left: { offset: 3, hasUnit: false },
      operator: '<=',
      right: { quantity: { of: '', name: 'bytesLost' }, offset: 0, hasUnit: false },
    }),
    undefined,
  );
});
