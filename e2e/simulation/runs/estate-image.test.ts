import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createSimulatedCloud } from '../cloud/simulated-cloud.ts';
import { openEstate, plannedMachines } from '../workload/estate.ts';
import { estateImage } from './estate-image.ts';
import { playHistory } from './history.ts';

const logOf = async (seed: number): Promise<string> => {
  const { lines } = await playHistory({ seed, untilAction: 30 });
  return lines().join('\n');
};

test('a history does not depend on histories played earlier in the process', async () => {
  const first = await logOf(5);
  await logOf(6);
  assert.equal(await logOf(5), first);
});

/** Includes maps and sets. */
const textOf = (value: unknown): string =>
  JSON.stringify(value, (_, part) => (part instanceof Map || part instanceof Set ? [...part] : part));

test('a world does not change the image from which it starts', async () => {
  const { cloud: image } = await estateImage();
  const before = textOf(image);
  const world = await createSimulatedCloud({ seed: 1, image });
  await world.run(() => openEstate(world));
  world.close();
  assert.equal(world.guests.guests.size, Object.keys(plannedMachines).length);
  assert.equal(textOf(image), before);
});
