import { ComputeServiceDefinition } from '@interlock/contracts/interlock/compute/v1/compute.ts';
import type { ProcessAssembly, ProcessSeams } from '@interlock/host';
import { names } from '@interlock/rpc';
import type { ConfigOf } from '@interlock/runtime';
import type { VmHost } from '../guests/vm-host.ts';
import { vmHostApi } from './api.ts';
import { EndedGuests } from './ended-guests.ts';
import { PlacedGuests } from './placed-guests.ts';
import { type PlacementFiles, Placements } from './placements.ts';
import { keepRegistered, leave } from './registration.ts';
import type { vmHostSpec } from './settings.ts';

/** What a VM host needs. No other process has its files and its guests. */
export type VmHostParts = Pick<ProcessSeams<unknown>, 'clock' | 'random' | 'log' | 'client' | 'scope'> & {
  readonly settings: Pick<
    ConfigOf<typeof vmHostSpec>,
    'vmHost' | 'vmHostAddress' | 'vmHostLeaveMs' | 'hostZone' | 'guestCapacity'
  >;
  readonly files: PlacementFiles;
  readonly driver: VmHost;
};

/** Assembles a VM host: it runs the guests that compute places here, and decides nothing. */
export const assembleVmHost = async (parts: VmHostParts): Promise<ProcessAssembly> => {
  const { clock, random, log, client, scope, settings, files, driver } = parts;
  const { vmHostAddress: address, hostZone: zone = '', guestCapacity } = settings;
  const compute = client('compute', ComputeServiceDefinition);
  const name = names.vmHost.format({ vmHost: settings.vmHost });
  const guests = new PlacedGuests(driver, new Placements(files), guestCapacity);
  const ended = new EndedGuests({ compute, vmHost: name, guests, driver, clock, log, signal: scope.signal });
  driver.onEnded((vm) => {
    const known = guests.of(vm);
    if (known) void ended.report(known);
  });
  for (const gone of await guests.recover()) void ended.report(gone);
  const self = { name, run: random.uuid(), address, zone, guestCapacity };
  const registration = { compute, self, guests, clock, log };
  return {
    services: [vmHostApi({ guests, driver, log })],
    background: [
      async (signal) => {
        await keepRegistered(registration, signal);
        // The API is served until this is over.
        if (settings.vmHostLeaveMs > 0) await leave(registration, settings.vmHostLeaveMs);
      },
    ],
  };
};
