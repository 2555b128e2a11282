import { DiskHostServiceDefinition, DiskServiceDefinition } from '@interlock/contracts/interlock/disk/v1/disk.ts';
import { DiskEncryptionSetServiceDefinition } from '@interlock/contracts/interlock/disk_encryption_set/v1/disk_encryption_set.ts';
import { IdentityServiceDefinition } from '@interlock/contracts/interlock/identity/v1/identity.ts';
import { type Assemble, openSubscriptions, type Seams } from '@interlock/host';
import { service } from '@interlock/rpc';
import { keyedMutex } from '@interlock/runtime';
import { authorization, hostAuthorization } from './authorization.ts';
import { diskApi } from './disk/api.ts';
import { attachmentApi } from './disk/attachment-api.ts';
import type { Control } from './disk/control.ts';
import { DiskCreation } from './disk/creation.ts';
import { openRecords } from './disk/records.ts';
import { openStoredHeaders } from './disk/stored-headers.ts';
import { volumesApi } from './disk/volumes-api.ts';
import { fleetApi } from './fleet/api.ts';
import { openFleet } from './fleet/assemble-fleet.ts';
import { openAvailability } from './fleet/availability.ts';
import { assembleHost } from './host/assemble-host.ts';
import { openHostLossTable } from './host/keys/host-losses.ts';
import { SetFacts } from './host/keys/set-facts.ts';
import { openSetKeys } from './host/keys/set-keys.ts';
import { openLossTable } from './host/keys/set-losses.ts';
import { openOptionTable, SetOptions } from './host/keys/set-options.ts';
import type { NbdServerParts } from './host/nbd/door.ts';
import { arrivalsApi } from './moves/arrivals-api.ts';
import { Drain } from './moves/drain.ts';
import { EncryptionChange } from './moves/encryption-change.ts';
import { keyChangeApi } from './moves/key-change-api.ts';
import { moveApi } from './moves/move-api.ts';
import { VolumeMoves } from './moves/volume-moves.ts';
import { toFact } from './published.ts';
import { reactions } from './reactor.ts';
import { sweepHeaders } from './reconcile/header-sweep.ts';
import { startWatchdog } from './reconcile/watchdog.ts';
import { RetryQueue } from './retry-queue.ts';
import { HostLinks } from './routing/host-links.ts';
import { callMaxMsOf, type DiskSettings } from './settings.ts';
import { snapshotApi } from './snapshot/api.ts';
import { SnapshotCreation } from './snapshot/creation.ts';

/** HTTP/2 window of the data path: at 64 KiB, the default, each piece would wait for several round trips. */
const flowControlWindowBytes = 1024 * 1024;

/** Ends with its connections before the open disks close. */
const serveNbd = async ({ settings, scope }: Seams<DiskSettings>, parts: NbdServerParts): Promise<void> => {
  const stop = await settings.nbd?.start(parts);
  if (stop) scope.defer('NBD', stop);
};

/** Assembles disk: the control side, and the host in the same process. */
export const assemble: Assemble<DiskSettings> = async (seams) => {
  const { store, clock, random, log, settings, authorize, client, scope } = seams;
  const { leases: terms, snapshotLimits: limits, dataAddress } = settings;
  const { ofHosts, leases: hostLeases, enter, onFleetRead } = await openFleet(seams);
  const stored = openStoredHeaders(store);
  const turns = keyedMutex();
  const retries = new RetryQueue({ turns, clock, random, log, signal: scope.signal });
  const options = new SetOptions();
  const tables = { losses: openLossTable(store), options: openOptionTable(store) };
  const sets = client('disk-encryption-set', DiskEncryptionSetServiceDefinition);
  const setKeys = openSetKeys(store, sets, options);
  const records = openRecords({ ...ofHosts, stored, turns, clock });
  // The moves are assembled over the host, which resumes open disks after that.
  let endForeignMove = async (name: string): Promise<void> => {
    throw new Error(`${name} is opened before moves are known`);
  };
  const { host, sessions, keyAccess, leases, hostLosses, data, nbd, leaseApi } = await assembleHost(seams, {
    ...{ records, setKeys, sets, options, turns, retries },
    endForeignMove: (name) => endForeignMove(name),
  });

  const cause = { correlationId: random.uuid(), causes: [], caller: 'system:disk' };
  await enter(cause);
  await hostLosses.forgetEarlier(cause);
  const availability = openAvailability({
    ...{ host, self: ofHosts.hostName, losses: tables.losses, hostLosses: openHostLossTable(store) },
  });
  const control: Control = {
    ...{ ...ofHosts, store, stored, setKeys, host, availability, turns, retries, clock, random, log },
    signal: scope.signal,
  };
  const diskCreation = new DiskCreation(control);
  const snapshotCreation = new SnapshotCreation(control);
  const encryptionChange = new EncryptionChange(control);
  const links = new HostLinks({ fleet: control.fleet, connectTo: seams.connectTo, clock });
  scope.defer('connections to other disk hosts', async () => links.close());
  const moves = new VolumeMoves(control, links);
  endForeignMove = (name) => moves.reconcile(name, cause);
  const facts = new SetFacts({ keyAccess, leases, options, tables, clock });
  await seams.follow({ source: 'disk-encryption-set', apply: facts.apply, recall: facts.recall });
  await startWatchdog(control, { diskCreation, snapshotCreation, encryptionChange, moves }, cause);
  const drain = new Drain(control, moves);
  onFleetRead(() => drain.advance(cause));
  await sessions.resume(cause);
  void sweepHeaders(control, cause);
  await serveNbd(seams, nbd);

  const subscriptions = openSubscriptions(client('identity', IdentityServiceDefinition));
  const api = service({
    definition: DiskServiceDefinition,
    implementation: {
      ...diskApi(control, { creation: diskCreation, encryptionChange, moves, authorize, subscriptions }),
      ...attachmentApi({ ...control, random, dataAddress, nbdAddress: settings.nbd?.address ?? '' }),
      ...snapshotApi(control, { creation: snapshotCreation, moves, authorize, limits }),
      ...keyChangeApi(control),
      ...moveApi(control, moves),
      ...leaseApi,
      ...fleetApi({ ...control, leases: hostLeases }),
    },
    authorization,
  });
  const volumes = service({
    definition: DiskHostServiceDefinition,
    implementation: { ...volumesApi(control), ...arrivalsApi(control) },
    authorization: hostAuthorization,
  });
  const handlers = reactions({ ...tables, apply: facts.apply, clock });
  const messaging = { toFact, reactions: [{ source: 'disk-encryption-set', handlers } as const] };
  return {
    services: [api, volumes, data],
    ...(settings.isOneOfMany ? {} : messaging),
    server: {
      channelOptions: { 'grpc-node.flow_control_window': flowControlWindowBytes },
      deadlineMaxMs: callMaxMsOf(terms),
    },
  };
};
