import { setTimeout as sleep } from 'node:timers/promises';
import { DiskDataServiceDefinition } from '@interlock/contracts/interlock/disk/v1/disk.ts';
import type { LocalCloud } from '@interlock/local/local-cloud.ts';
import { connect, openChannel } from '@interlock/rpc';
import { type Scope, systemClock, systemRandom } from '@interlock/runtime';
import { trace } from '@opentelemetry/api';
import { Metadata } from 'nice-grpc-common';
import { type Clients, tlsInto } from '../../cloud/clients.ts';
import { makeWorld, untilPower } from '../../cloud/world.ts';
import { timed } from '../measure.ts';

/** What somebody does who has nothing to do with a fleet. */
export type Deed = 'start' | 'read' | 'wrap';

/** Latencies in ms, by deed, in the order of their ends. */
export type Latencies = Readonly<Record<Deed, readonly number[]>>;

/** Pause between two deeds of a kind, in ms: looks often enough, and is no load of its own. */
const pauseMs = 10;
/** Machines, each started again and again: a fleet stops in the time of few starts of one. */
const machinesCount = 8;
/** Who read and wrap at once. */
const readersCount = 2;
/** Pause between two looks at a machine that starts, in ms. */
const lookMs = 2;

/**
 * Somebody with a vault, a set, some machines and a disk of their own. `watch` does, until the signal ends it, each thing again
 * and again: starts each machine and waits until it runs, reads 4 KiB of the disk, wraps a key in the vault.
 */
export const openBystander = async (
  { cloud, clients }: { readonly cloud: LocalCloud; readonly clients: Clients },
  scope: Scope,
): Promise<{ watch(signal: AbortSignal): Promise<Latencies> }> => {
  const { group, keyVersion, set, machines } = await makeWorld(
    clients,
    Array.from({ length: machinesCount }, () => ['PREMIUM_SSD']),
  );
  const { name: disk } = await clients.disks.createDisk({
    parent: group,
    diskId: 'own',
    location: 'westeurope',
    sku: 'PREMIUM_SSD',
    sizeGib: 1,
    encryption: { type: 'ENCRYPTION_AT_REST_WITH_CUSTOMER_KEY', diskEncryptionSet: set },
  });
  const { accessToken, dataAddress } = await clients.disks.beginAccess({
    name: disk,
    accessLevel: 'READ',
    durationSeconds: 3_600,
  });
  const channel = openChannel({ address: dataAddress, tls: tlsInto(cloud) });
  scope.defer('data of the bystander', async () => channel.close());
  const data = connect({
    channel,
    definition: DiskDataServiceDefinition,
    credentials: undefined,
    audience: 'interlock:disk',
    clock: systemClock,
    random: systemRandom,
    tracer: trace.getTracer('bystander'),
  });
  const plaintextKey = Buffer.from(systemRandom.bytes(32));

  const deeds = {
    async start(machine: string) {
      await clients.compute.powerOffVirtualMachine({ name: machine });
      await untilPower(clients, machine, 'STOPPED');
      return timed(async () => {
        await clients.compute.startVirtualMachine({ name: machine });
        while ((await clients.compute.getVirtualMachine({ name: machine })).powerState !== 'RUNNING')
          await sleep(lookMs);
      });
    },
    read: () =>
      timed(async () => {
        const metadata = Metadata().set('x-interlock-disk-access', accessToken);
        let bytes = 0;
        for await (const piece of data.read({ name: disk, offsetBytes: 0, lengthBytes: 4_096 }, { metadata }))
          bytes += piece.data.length;
        if (bytes !== 4_096) throw new Error(`4096 bytes were to be read, not ${bytes}`);
      }),
    wrap: () =>
      timed(() =>
        clients.keyVault.wrapKey({ name: keyVersion, algorithm: 'RSA_OAEP_256', plaintextKey, resource: disk }),
      ),
  };
  return {
    async watch(signal) {
      const again = async (each: readonly (() => Promise<number>)[]): Promise<readonly number[]> => {
        const latencies: number[] = [];
        const whoever = async (deed: () => Promise<number>): Promise<void> => {
          do {
            latencies.push(await deed());
            await sleep(pauseMs);
          } while (!signal.aborted);
        };
        await Promise.all(each.map(whoever));
        return latencies;
      };
      const [start, read, wrap] = await Promise.all([
        again(machines.map((machine) => () => deeds.start(machine))),
        again(Array.from({ length: readersCount }, () => deeds.read)),
        again(Array.from({ length: readersCount }, () => deeds.wrap)),
      ]);
      return { start, read, wrap };
    },
  };
};
