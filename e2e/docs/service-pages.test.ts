import assert from 'node:assert/strict';
import { test } from 'node:test';
import { PowerState } from '@interlock/contracts/interlock/compute/v1/virtual_machine.ts';
import { publishedStreams } from '@interlock/host';
import {
  assembledSources,
  callersOfCompute,
  consumed,
  headings,
  namesIn,
  pageOf,
  pages,
  publishedBy,
  rpcsOf,
  sectionOf,
  services,
  withTables,
} from './service-page.ts';
import { textOf } from './sources.ts';
import { statesIn } from './states.ts';
import { rowOf } from './table.ts';

const words = (text: string): readonly string[] => text.match(/\w+/g) ?? [];

for (const name of pages) {
  const page = textOf(pageOf(name));

  test(`${pageOf(name)} opens with one sentence and the six sections`, () => {
    const [first = '', ...sections] = page.split(/^## /m);
    assert.deepEqual(
      sections.slice(0, headings.length).map((section) => section.split('\n')[0]),
      headings,
    );
    assert.match(first, new RegExp(`^# ${name}\n\n[^\n]+\\.\n\n$`), 'a title and one line');
  });

  test(`${pageOf(name)} has the tables of states and published events as in the code (npm run rules corrects it)`, () => {
    assert.equal(withTables(page, name), page);
  });

  test(`${pageOf(name)} draws every state of every stream`, () => {
    const [, diagram = ''] = /```\n([\s\S]*?)```/.exec(sectionOf(page, 'States')) ?? [];
    const missing = statesIn(name).flatMap(({ stream, states }) =>
      states
        .split(/[;,] (?:\w+: )?/)
        .filter((state) => state !== 'none' && !words(diagram).includes(state))
        .map((state) => `${stream}: ${state}`),
    );
    assert.deepEqual(missing, []);
  });
}

for (const name of services) {
  const page = textOf(pageOf(name));

  test(`${pageOf(name)} has every stream that the service publishes`, () => {
    assert.deepEqual(
      statesIn(name)
        .map(({ stream }) => stream)
        .sort(),
      publishedStreams[name].toSorted(),
    );
    const streams = new Set(
      [...sectionOf(page, 'Commands').matchAll(/^\| `[^|]*\| ([^|]*) \|/gm)].flatMap(([, cell = '']) => words(cell)),
    );
    assert.deepEqual(
      [...streams].filter((stream) => stream !== 'none' && !publishedStreams[name].includes(stream)),
      [],
    );
  });

  test(`${pageOf(name)} has each RPC of the contract once`, () => {
    const rpcs = rpcsOf(name);
    assert.ok(rpcs.length >= 10, 'the RPCs are found');
    assert.deepEqual([...namesIn(sectionOf(page, 'Commands'), 0)].sort(), rpcs.toSorted());
  });

  test(`${pageOf(name)} has each consumed event once, with its source`, () => {
    const rows = sectionOf(page, 'Events it consumes');
    const onPage = [...rows.matchAll(/^\| (`[^|]*`) \| ([\w-]+) \|/gm)].flatMap(([, events = '', source = '']) =>
      words(events).map((event) => `${source}: ${event}`),
    );
    const handled = Object.entries(consumed[name]).flatMap(([source, events]) =>
      events.map((event) => `${source}: ${event}`),
    );
    assert.deepEqual(onPage.toSorted(), handled.toSorted());
    assert.deepEqual(assembledSources(name).toSorted(), Object.keys(consumed[name]).sort());
  });

  test(`${name} consumes only events that another service publishes`, () => {
    for (const source of services) {
      const published = publishedBy(source).map(({ event }) => event);
      assert.ok(published.length > 0, `the events of ${source} are found`);
      for (const event of consumed[name][source] ?? []) assert.ok(published.includes(event), `${source}: ${event}`);
    }
  });
}

test('services/compute/README.md has each power state of the contract among its states', () => {
  const machine = statesIn('compute').find(({ stream }) => stream === 'vm');
  const [, ofPower = ''] = machine?.states.split('; PowerState: ') ?? [];
  // A machine that is being created has no power state of its own.
  const others = ['POWER_STATE_UNSPECIFIED', 'UNRECOGNIZED', 'CREATING'];
  const inContract = Object.values(PowerState).filter((name) => !others.includes(name));
  assert.deepEqual(ofPower.toUpperCase().split(', ').sort(), inContract.toSorted());
});

test('services/compute/README.md names the callers of each RPC', () => {
  const onPage = new Map(
    sectionOf(textOf(pageOf('compute')), 'Commands')
      .split('\n')
      .flatMap((line) => {
        const [rpcs = '', , callers = ''] = rowOf(line) ?? [];
        return [...rpcs.matchAll(/`(\w+)`/g)].map(([, rpc = '']) => [rpc, callers] as const);
      }),
  );
  assert.deepEqual(onPage, callersOfCompute);
});
