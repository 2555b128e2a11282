import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parse, parseAllDocuments } from 'yaml';
import { estateFromAzure } from '../estate/azure/estate-from-azure.ts';
import { printEstate } from '../estate/print-estate.ts';
import { readExperiment } from '../file/read-experiment.ts';
import { exportExperiment, exportTools } from './packs/export-experiment.ts';
import { yamlComment, yamlText } from './yaml-text.ts';

/** A line feed and a carriage return that would begin a line of YAML, controls of a terminal, and a mark of direction. */
const hostile = 'x\n- injected: true\r- injected: true\u2028- injected: true\u001b]0;title\u0007\u009b2J\u202e';
// biome-ignore lint/suspicious/noControlCharactersInRegex: that is what must not be there.
const hidden = /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u2028-\u202e\u2066-\u2069]/;

test('every text is read back unchanged from YAML that shows its controls as escapes', () => {
  const value = { [hostile]: hostile, list: [hostile, 'plain', 'two\n\tlines', '漢字', ''], n: 1 };
  const text = yamlText(value);
  assert.deepEqual(parse(text), value);
  assert.doesNotMatch(text, hidden);
});

test('a comment is one line', () => {
  assert.equal(yamlComment('a\n- b\r- c'), '# a\\n- b\\u000d- c\n');
});

test('a title adds nothing to an exported experiment, for any tool', () => {
  const exported = (title: string, tool: (typeof exportTools)[number]) => {
    const read = readExperiment(`title: ${JSON.stringify(title)}
description: ${JSON.stringify(title)}
estate: { premium: { machines: 1, disks: [premium-ssd], key: k1 } }
timeline:
  - { at: 0s, disable-key: premium, as: loss }
  - { at: 1s, kill: nats, for: 1s }
  - { at: 5s, give-back: loss, start: true }
expect: [premium.stopped <= loss + 5s, bytesLost == 0]
`);
    assert.ok('experiment' in read, JSON.stringify(read));
    const made = exportExperiment(read.experiment, { tool, name: 'x', image: 'image', group: 'g' });
    assert.ok('files' in made);
    return [...made.files.values()];
  };
  for (const tool of exportTools) {
    const [plain, made] = [exported('plain', tool), exported(hostile, tool)];
    for (const [index, text] of made.entries()) {
      assert.doesNotMatch(text, hidden);
      assert.doesNotMatch(text, /^- injected/m);
      const data = (one: string) => parseAllDocuments(one).map((document) => JSON.stringify(document.toJS()));
      assert.deepEqual(
        data(text).map((one) => one.replaceAll(JSON.stringify(hostile).slice(1, -1), 'plain')),
        data(plain[index] ?? ''),
      );
    }
  }
});

test('a name from Azure adds nothing to a twin', () => {
  const id = (type: string) => `/subscriptions/s/resourceGroups/g/providers/Microsoft.Compute/${type}/${hostile}`;
  const rows = [
    { id: id('virtualMachines'), name: hostile, type: 'Microsoft.Compute/virtualMachines', location: hostile },
    { id: id('disks'), name: hostile, type: 'Microsoft.Compute/disks', location: hostile, sku: { name: hostile } },
  ];
  const made = estateFromAzure([{ name: hostile, text: JSON.stringify(rows) }], { scale: 1, nowMs: 0 });
  if ('problems' in made) assert.fail(JSON.stringify(made));
  const remarks = [...made.notMapped, ...made.changed].map(({ what, reason }) => `${what}: ${reason}`);
  assert.ok(remarks.some((one) => one.includes('injected')));
  const text = printEstate(made.estate, remarks);
  assert.doesNotMatch(text, hidden);
  assert.deepEqual(parse(text), JSON.parse(JSON.stringify(made.estate)));
});
