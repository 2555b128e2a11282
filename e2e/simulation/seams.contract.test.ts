import assert from 'node:assert/strict';
import { memoryStore } from '@interlock/event-store';
import { memoryBus } from '@interlock/messaging';
import { type Clock, seededRandom, systemClock, systemRandom, virtualClock } from '@interlock/runtime';
import { storeContract } from '../../libs/event-store/src/test-store-contract.ts';
import { ACK_WAIT_MS, busContract } from '../../libs/messaging/src/test-bus-contract.ts';
import { blockStoreContract } from '../../services/disk/src/host/storage/test-block-store-contract.ts';
import { memoryVolumeFiles } from '../../services/disk/src/host/storage/volume-files.ts';
import { ProcessVolumes } from './cloud/process-volumes.ts';
import { noStoreFaults, noVolumeFaults } from './faults/fault-rates.ts';
import { busOver } from './faults/faulty-bus.ts';
import { faultyStore } from './faults/faulty-store.ts';
import { createGate } from './faults/gate.ts';

// The layers between a process and its seams must keep the contract of the seams while no fault is active.

/** Real time with the interface of a virtual clock: the suites really wait. */
const clock = { ...virtualClock(), ...(systemClock satisfies Clock) };
const link = () => ({ clock, random: seededRandom(1), gate: createGate() });

storeContract("a process's way to the memory", async () =>
  faultyStore(memoryStore({ clock }), {
    ...link(),
    faults: noStoreFaults(),
    isCut: () => false,
  }),
);

// Slow, but it neither refuses nor forgets: late results are still correct.
storeContract("a process's slow way to the memory", async () =>
  faultyStore(memoryStore({ clock }), {
    ...link(),
    faults: { ...noStoreFaults(), delay: 0.5, delayMs: 3, lateWake: 0.5 },
    isCut: () => false,
  }),
);

busContract("a process's way to the memory", async () => {
  const bus = memoryBus({ clock, random: systemRandom, ackWaitMs: ACK_WAIT_MS });
  let interruptions = 0;
  return {
    bus: busOver(bus, {
      ...link(),
      isCut: () => false,
      interruptions: () => interruptions,
      gone: new AbortController().signal,
    }),
    interrupt: async () => {
      interruptions += 1;
      bus.disconnect();
      bus.reconnect();
    },
    close: () => bus.close(),
  };
});

const diskThrough =
  (delay: number) =>
  (sizeBytes: number): (() => ReturnType<ProcessVolumes['create']>) => {
    const inner = memoryVolumeFiles(systemRandom);
    const faults = { ...noVolumeFaults(), delay, delayMs: 2 };
    const around = { copies: { step: () => undefined }, record: { note: () => assert.fail('nothing goes wrong') } };
    const volumes = new ProcessVolumes(inner, { ...link(), faults, ...around });
    return () => volumes.create('disk', 'data', sizeBytes);
  };
blockStoreContract({ "a process's storage": diskThrough(0), "a process's slow storage": diskThrough(0.5) });
