import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { before, test } from 'node:test';
import { nodeOptions } from '@interlock/local/processes.ts';
import { textOf } from '../docs/sources.ts';
import { containersOf, workloadsIn } from './references.ts';
import { type Container, type KubernetesObject, objectsIn, overlays, render } from './render.ts';

/** The flags with which images run Node, from the entry point of the Containerfile. */
const flags: readonly string[] = JSON.parse(
  [...textOf('deploy/Containerfile').matchAll(/^ENTRYPOINT (\[.*\])$/gm)].at(-1)?.[1] ?? '[]',
).filter((word: string) => word.startsWith('--'));
const numberOf = (flag: string, all: readonly string[] = flags): number =>
  Number(all.find((one) => one.startsWith(`--${flag}=`))?.split('=')[1]);

/**
 * The memory that a service needs outside of its heap, in MiB: about 80 for Node and its code, up to 64 for data that was read
 * or written and is not freed yet (services/disk/src/main.ts), windows of gRPC connections, two RSA threads.
 */
const besideTheHeapMiB = 200;

const mebibytesOf = (quantity: string | undefined): number => {
  const [, number = '', unit = ''] = /^(\d+)(Mi|Gi)$/.exec(quantity ?? '') ?? [];
  return Number(number) * (unit === 'Gi' ? 1_024 : 1);
};
/** Settings of the heap that a manifest could set in addition to the image. None does. */
const heapVariable = /^(NODE_OPTIONS|MALLOC_[A-Z_]+)$/;

let workloads: readonly KubernetesObject[] = [];
before(async () => {
  const rendered = await Promise.all(overlays.map(render));
  const job = objectsIn(textOf('deploy/kubernetes/jobs/rehearsal.yaml'));
  workloads = workloadsIn([...rendered.flat(), ...job]);
});
const ours = (): readonly Container[] =>
  workloads.flatMap(containersOf).filter(({ image }) => /\/interlock\/[a-z-]+[:@]/.test(image));

test('the heap of a container depends on its limit, and leaves room for memory outside of the heap', () => {
  const percentage = numberOf('max-old-space-size-percentage');
  const youngMiB = 3 * numberOf('max-semi-space-size');
  assert.ok(percentage > 0 && youngMiB > 0, flags.join(' '));
  assert.ok(ours().length > 15);
  for (const { name, resources, env = [] } of ours()) {
    const limitMiB = mebibytesOf(resources?.limits?.memory);
    const heapMiB = (limitMiB * percentage) / 100 + youngMiB;
    // The Jobs that create Secrets and streams need little memory outside of their heap.
    if (name !== 'setup' && name !== 'nats-streams') {
      assert.ok(limitMiB - heapMiB >= besideTheHeapMiB, `${name}: ${heapMiB} MiB of heap in ${limitMiB} MiB`);
    }
    assert.deepEqual(
      env.map((variable) => variable.name).filter((variable) => heapVariable.test(variable)),
      [],
      `${name} has another heap than its limit says`,
    );
  }
});

test('images run Node with the same young generation as local clouds, and this Node supports the flags', () => {
  assert.equal(numberOf('max-semi-space-size'), numberOf('max-semi-space-size', nodeOptions));
  const heapFlags = flags.filter((flag) => flag.includes('space'));
  const limit = (...extra: readonly string[]): number =>
    Number(
      execFileSync(process.execPath, [...heapFlags, ...extra, '-p', 'v8.getHeapStatistics().heap_size_limit'], {
        env: {},
      }),
    );
  assert.ok(limit('--max-old-space-size-percentage=10') < limit('--max-old-space-size-percentage=20'));
});
