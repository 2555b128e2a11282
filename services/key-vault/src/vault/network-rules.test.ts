import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  addressOf,
  networkRulesFromWire,
  networkRulesOnWire,
  openRules,
  servesAddress,
  servesTrusted,
} from './network-rules.ts';

const rules = (ipRules: readonly string[], more: Partial<typeof openRules> = {}) => ({
  ...openRules,
  defaultAction: 'deny' as const,
  ipRules,
  ...more,
});

test('KV-84: the address of a caller is read from a connection, from IPv6 forms too', () => {
  const addresses = ['127.0.0.1:5000', '192.0.2.7', '::ffff:192.0.2.7', '[::1]:5000', '::1', '[::ffff:192.0.2.7]:1'];
  assert.deepEqual(addresses.map(addressOf), [
    '127.0.0.1',
    '192.0.2.7',
    '192.0.2.7',
    '127.0.0.1',
    '127.0.0.1',
    '192.0.2.7',
  ]);
  assert.deepEqual(['2001:db8::1', '[2001:db8::1]:5', 'key-vault', ''].map(addressOf), Array(4).fill(undefined));
});

test('KV-84: a rule admits only its address or range', () => {
  const ranges = rules(['192.0.2.7/32', '198.51.100.0/24']);
  assert.ok(servesAddress(ranges, '192.0.2.7') && servesAddress(ranges, '198.51.100.200'));
  for (const other of ['192.0.2.8', '198.51.101.1', undefined]) assert.equal(servesAddress(ranges, other), false);
  assert.equal(servesAddress(rules(['0.0.0.0/0']), '203.0.113.9'), true);
  assert.equal(servesAddress(openRules, undefined), true);
});

test('CMK-29: trusted services pass with bypass, also when public access is disabled', () => {
  assert.equal(servesTrusted(rules([], { publicAccessDisabled: true })), true);
  assert.equal(servesTrusted(rules(['0.0.0.0/0'], { bypass: false })), false);
  assert.equal(servesTrusted({ ...openRules, bypass: false }), true);
  assert.equal(servesAddress(rules(['0.0.0.0/0'], { publicAccessDisabled: true }), '192.0.2.7'), false);
});

test('KV-84: rules are stored as ranges without duplicates; a value that is not an IPv4 range is refused', () => {
  const wire = { ...networkRulesOnWire(rules([])), ipRules: ['192.0.2.7', '192.0.2.7/32', '198.51.100.0/24'] };
  assert.deepEqual(networkRulesFromWire(wire).ipRules, ['192.0.2.7/32', '198.51.100.0/24']);
  for (const bad of ['192.0.2', '192.0.2.7/33', '192.0.2.7/-1', '192.0.2.7/8/8', '2001:db8::/32', 'x', ''])
    assert.throws(() => networkRulesFromWire({ ...wire, ipRules: [bad] }), { reason: 'NETWORK_RULES_INVALID' }, bad);
});
