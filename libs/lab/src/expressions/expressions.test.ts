import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { accessReasons } from '@interlock/access';
import fc from 'fast-check';
import type { Expression, Term } from '../expression.ts';
import { readExperiment } from '../file/read-experiment.ts';
import { checkExpression } from './check.ts';
import { durationText, toMilliseconds } from './duration.ts';
import { parseExpression } from './parse.ts';
import { printExpression } from './print.ts';
import { groupQuantities, partQuantities, runQuantities, stepQuantities } from './vocabulary.ts';

const name = fc.stringMatching(/^[a-z][a-z0-9-]{0,9}$/).filter((text) => !Object.hasOwn(runQuantities, text));
const plain = <T>(model: { [K in keyof T]: fc.Arbitrary<T[K]> }): fc.Arbitrary<T> =>
  fc.record(model, { noNullPrototype: true });
const { reason: _, ...comparable } = groupQuantities;
const quantity = fc.oneof(
  plain({
    of: name,
    name: fc.constantFrom(...Object.keys({ ...comparable, ...partQuantities, ...stepQuantities })),
  }),
  plain({ of: fc.constant(''), name: fc.constantFrom(...Object.keys(runQuantities)) }),
);
const milliseconds = fc.integer({ min: -90_000_000, max: 90_000_000 });
const term: fc.Arbitrary<Term> = fc.oneof(
  plain({ quantity, offset: milliseconds, hasUnit: fc.constant(true) }),
  plain({ quantity, offset: fc.constantFrom(0, 1, -7, 250), hasUnit: fc.constant(false) }),
  plain({ offset: milliseconds, hasUnit: fc.constant(true) }),
  plain({ offset: fc.integer({ min: -1_000, max: 1_000 }), hasUnit: fc.constant(false) }),
);
const expression: fc.Arbitrary<Expression> = fc.oneof(
  plain({
    kind: fc.constant('compare' as const),
    left: term,
    operator: fc.constantFrom('<', '<=', '==', '!=', '>=', '>'),
    right: term,
  }),
  plain({ kind: fc.constant('holds' as const), quantity }),
  plain({
    kind: fc.constant('reason' as const),
    quantity: plain({ of: name, name: fc.constant('reason') }),
    reason: fc.constantFrom(...accessReasons),
  }),
);

test('a printed expression parses to the same expression', () => {
  fc.assert(
    fc.property(expression, (one) => {
      const text = printExpression(one);
      assert.deepEqual(parseExpression(text), { expression: one }, text);
    }),
  );
});

test('any text parses to an expression or to an error with a column within the text', () => {
  const pieces = fc.array(
    fc.constantFrom('premium', '.stopped', ' <= ', ' + ', '-', '5s', '3', ' ', '=', '€', 'x.y.z'),
  );
  fc.assert(
    fc.property(
      fc.oneof(
        fc.string({ unit: 'grapheme' }),
        pieces.map((some) => some.join('')),
      ),
      (text) => {
        const parsed = parseExpression(text);
        if ('expression' in parsed) return;
        const { column, message, cure } = parsed.error;
        assert.ok(
          column >= 1 && column <= text.length + 1 && message !== '' && cure.endsWith('.'),
          JSON.stringify(parsed),
        );
      },
    ),
  );
});

test('durations with a unit are parsed, and printed durations parse to the same value', () => {
  for (const [text, ms] of [
    ['200ms', 200],
    ['1.5s', 1_500],
    ['1.1m', 66_000],
    ['2h', 7_200_000],
    ['-5m', -300_000],
    ['0s', 0],
    ['5', undefined],
    ['5 s', undefined],
    ['5d', undefined],
  ] as const)
    assert.equal(toMilliseconds(text), ms, text);
  fc.assert(fc.property(milliseconds, (ms) => assert.equal(toMilliseconds(durationText(ms)), ms)));
});

describe('a syntax error has its column and a cure', () => {
  for (const [text, column, message, cure] of [
    ['', 1, /is empty/, /premium\.stopped <= loss \+ 5s/],
    ['premium.stopped <=', 19, /ends too early/, /5s/],
    ['premium.stopped = 5s', 17, /"=" has no meaning/, /==/],
    ['premium.stopped <= 5sec', 20, /5sec has an unknown unit/, /ms, s, m or h/],
    ['premium.stopped - loss <= 5s', 19, /loss is subtracted/, /a <= b \+ 5s/],
    ['a.b + c.d < 1', 7, /second quantity/, /one quantity on each side/],
    ['a.b.c < 1', 1, /more than one dot/, /<group>/],
    ['a.b < 1 < 2', 9, /follows a complete comparison/, /two conditions/],
    ['a.failed < 1 && b.failed < 1', 14, /"&"/, /two conditions/],
    ['a.b < 1 + 5s', 11, /cannot be added/, /unit/],
    ['a.b 5s', 5, /where an operator belongs/, /<=/],
    ['loss + 5s', 1, /a sum alone/, /Compare it/],
  ] as const)
    test(`"${text}"`, () => {
      const parsed = parseExpression(text);
      assert.ok('error' in parsed);
      assert.equal(parsed.error.column, column);
      assert.match(parsed.error.message, message);
      assert.match(parsed.error.cure, cure);
    });
});

const read = readExperiment(`
title: names
estate:
  premium: {machines: 1, disks: [premium-ssd], key: k1}
  control: {machines: 1, disks: [premium-ssd], key: k2}
timeline:
  - {at: 0s, kill: nats, for: 5s}
  - {at: 0s, pause: disk}
  - {at: 0s, disable-key: premium, as: loss}
  - {at: 9s, give-back: loss}
`);
assert.ok('experiment' in read, JSON.stringify(read));
const { experiment } = read;

const check = (text: string): string => {
  const parsed = parseExpression(text);
  assert.ok('expression' in parsed, text);
  return checkExpression(parsed.expression, experiment)
    .map(({ message, cure }) => `${message} | ${cure}`)
    .join('\n');
};

describe('expressions that cannot be measured or compared are refused', () => {
  for (const [text, expected] of [
    ['premium.stoped <= 5s', /no quantity "stoped" \| Did you mean stopped\?/],
    ['premum.stopped <= 5s', /"premum" is no group, step or part.*Did you mean premium\?/],
    ['bytesLos == 0', /"bytesLos" is no group.*Did you mean bytesLost\?/],
    ['premium.stopped <= los + 5s', /"los" is no group.*Did you mean loss\?/],
    ['premium', /premium is a group, and says nothing/],
    ['premium.stopped <= 5', /premium.stopped is a moment and the other side is a number.*unit of time/],
    ['premium.stopped <= loss + 5', /5 has no unit of time \| Write loss \+ 5s/],
    ['premium.failed <= 5s', /a number and the other side is a duration/],
    ['premium.failed + 5s <= 1', /a duration is added/],
    ['premium.running == 1', /a state.*Write the state alone/],
    ['premium.stopped', /no state that can hold/],
    ['control.gap <= loss', /a duration and loss is a moment/],
    ['5s < 6s', /neither side/],
    ['loss <= 5s', /counts from the loss of a group/],
    ['control.lastGoodWrite <= 5s', /no step takes a key of control away/],
    ['control.stopped <= loss', /never measured.*takes a key of control/],
    ['control.back <= 5s', /never measured.*gives a key of control back/],
    ['premium.startRefused <= 5s', /never measured.*start: premium/],
    ['premium.stopped <= disk.killed + 5s', /disk.killed is never measured.*kill: disk or restart: disk/],
    ['premium.stopped <= disk.resumed + 5s', /disk.resumed is never measured: the timeline never ends "pause-disk"/],
  ] as const)
    test(text, () => assert.match(check(text), expected));

  test('valid expressions are accepted', () => {
    for (const text of [
      'premium.lastGoodWrite <= loss + 3s',
      'premium.stopped <= 5s',
      '5s >= premium.stopped',
      'premium.stopped <= nats.restarted + 5s',
      'premium.back <= give-back-loss + 5s',
      'loss < nats.restarted',
      'loss.injected <= loss',
      'control.gap <= premium.gap + 1s',
      'control.failed == 0',
      'control.running',
      'bytesCompared > 0',
    ])
      assert.equal(check(text), '', text);
  });
});
