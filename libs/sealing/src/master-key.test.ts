import assert from 'node:assert/strict';
import { test } from 'node:test';
import { isExposed } from './master-key.ts';

const self = 10_001;
const root = 0;

test('a master key of our own is exposed as soon as anybody else may do anything with it', () => {
  for (const mode of [0o100600, 0o100400]) assert.equal(isExposed({ mode, uid: self }, self), false);
  for (const mode of [0o100640, 0o100440, 0o100604, 0o100620]) assert.equal(isExposed({ mode, uid: self }, self), true);
});

test('one that its owner hands to us through our group may be read by the group, and no more', () => {
  for (const mode of [0o100440, 0o100640, 0o100400]) assert.equal(isExposed({ mode, uid: root }, self), false);
  for (const mode of [0o100444, 0o100460, 0o100450]) assert.equal(isExposed({ mode, uid: root }, self), true);
});
