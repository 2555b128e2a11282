import type {
  CreateDiskEncryptionSetRequest,
  DeleteDiskEncryptionSetRequest,
  GetDiskEncryptionSetRequest,
  ListDiskEncryptionSetsRequest,
  DiskEncryptionSet as WireSet,
} from '@interlock/contracts/interlock/disk_encryption_set/v1/disk_encryption_set.ts';
import { type Cause, Rejection } from '@interlock/event-store';
import type { Subscriptions } from '@interlock/host';
import {
  type Authorizer,
  type Call,
  checkId,
  expectedVersion,
  names,
  pageOf,
  pageToken,
  principalOf,
  requirePermission,
  subscriptionOf,
} from '@interlock/rpc';
import { DomainAttribute, type Logger, type Random } from '@interlock/runtime';
import { trace } from '@opentelemetry/api';
import { checkAccess } from '../key/access-check.ts';
import { requireGivenIdentity } from '../key/given-identity.ts';
import type { ChooseKey } from '../key/key-choice.ts';
import type { SetParts } from '../sets.ts';
import { finishCreation } from '../upkeep/creation.ts';
import { finishDeletion } from '../upkeep/deletion.ts';
import { isOutage } from '../upkeep/outages.ts';
import { create, matchesRequest, setNotFound, startDeletion } from './decider.ts';
import { requestedOptionsOf } from './options.ts';
import { regionIndex } from './streams.ts';
import { encryptionTypeOf, existedOnWire, setOnWire } from './wire.ts';

type Parts = SetParts & {
  readonly random: Random;
  readonly log: Logger;
  readonly authorize: Authorizer;
  readonly subscriptions: Pick<Subscriptions, 'requireOwn'>;
  readonly chooseKey: ChooseKey;
  readonly schedule: (set: string, cause: Cause) => void;
  /** Sets of one subscription in one region (CMK-140). */
  readonly setsPerRegionMax: number;
};

/** Create, read and delete sets. */
export const setApi = (parts: Parts) => ({
  async createDiskEncryptionSet(request: CreateDiskEncryptionSetRequest, call: Call): Promise<WireSet> {
    names.resourceGroup.parse(request.parent, 'parent');
    const id = checkId(request.diskEncryptionSetId, 'diskEncryptionSet', 'disk_encryption_set_id');
    const set = `${request.parent}/diskEncryptionSets/${id}`;
    trace.getActiveSpan()?.setAttribute(DomainAttribute.diskEncryptionSet, set);
    const { cause } = call;
    await startCreation(parts, set, request, call);
    await asFarAsPossible(parts, set, finishCreation(parts, set, cause));
    // The response shows whether the identity has access to the key, or why not (CMK-05).
    await asFarAsPossible(parts, set, checkAccess(parts, set, cause));
    parts.schedule(set, cause);
    return setOnWire(await parts.sets.load(set));
  },

  async getDiskEncryptionSet({ name }: GetDiskEncryptionSetRequest, call: Call): Promise<WireSet> {
    names.diskEncryptionSet.parse(name, 'name');
    // disk and compute read the sets of their disks; every other caller needs a role.
    const caller = principalOf(call);
    if (caller.workload !== 'disk' && caller.workload !== 'compute') {
      await requirePermission(parts.authorize, caller, 'compute/diskEncryptionSets/read', name);
    }
    return setOnWire(await parts.sets.load(name));
  },

  async listDiskEncryptionSets(request: ListDiskEncryptionSetsRequest) {
    const { parent } = request;
    const pattern = parent.includes('/resourceGroups/') ? names.resourceGroup : names.subscription;
    pattern.parse(parent, 'parent');
    const { items, next } = await parts.sets.list({ ...pageOf(request), prefix: `${parent}/` });
    return { diskEncryptionSets: items.map(setOnWire), nextPageToken: pageToken(next) };
  },

  async deleteDiskEncryptionSet({ name, etag }: DeleteDiskEncryptionSetRequest, { cause }: Call): Promise<WireSet> {
    names.diskEncryptionSet.parse(name, 'name');
    trace.getActiveSpan()?.setAttribute(DomainAttribute.diskEncryptionSet, name);
    await parts.sets.transact(name, startDeletion(parts.clock.now()), cause, expectedVersion(etag));
    await asFarAsPossible(parts, name, finishDeletion(parts, name, cause));
    const { state, ...loaded } = await parts.sets.load(name);
    if (state.status === 'absent') throw setNotFound(name);
    return existedOnWire({ ...loaded, state });
  },
});

/** Stores a new set, unless the request repeats one: its key may be lost by now, or another. */
const startCreation = async (
  parts: Parts,
  set: string,
  request: CreateDiskEncryptionSetRequest,
  call: Call,
): Promise<void> => {
  const { clock, random, sets, subscriptions, chooseKey, setsPerRegionMax } = parts;
  const { keyUrl, sourceVault, location, userAssignedIdentity: given } = request;
  if (location.trim() === '') throw locationMissing();
  const wanted = {
    location,
    encryptionType: encryptionTypeOf(request.encryptionType),
    requestedKey: { keyUrl, sourceVault },
    requestedOptions: requestedOptionsOf(request),
    ...(given === '' ? {} : { requestedIdentity: given }),
  };
  const { state } = await sets.load(set);
  if ((state.status === 'creating' || state.status === 'active') && matchesRequest(state, wanted)) return;
  await subscriptions.requireOwn(set, call);
  const { key, tenant } = await chooseKey({ set, location, keyUrl, sourceVault }, call.cause);
  if (state.status === 'absent' || state.status === 'deleted') await checkLimit(sets, set, location, setsPerRegionMax);
  if (given !== '')
    await requireGivenIdentity(parts, { set, tenant, principal: given, keyVersion: key.keyVersion }, call);
  const identity =
    given === '' ? { principal: `principals/${random.uuid()}` } : { principal: given, userAssigned: true };
  const newSet = { ...wanted, tenant, ...identity };
  await sets.transact(set, create(clock.now(), newSet, key), call.cause);
};

/** Waits for a step. If another service does not respond, the step is finished later and the response shows the set as it is. */
const asFarAsPossible = async ({ log }: Parts, set: string, step: Promise<unknown>): Promise<void> => {
  try {
    await step;
  } catch (error) {
    if (!isOutage(error)) throw error;
    log.warn('a set will be finished later', { set, error });
  }
};

const checkLimit = async (sets: Parts['sets'], set: string, location: string, limit: number): Promise<void> => {
  const { items } = await sets.list({ index: regionIndex(set, location), limit });
  if (items.length < limit) return;
  throw new Rejection(
    'RESOURCE_EXHAUSTED',
    'TOO_MANY_DISK_ENCRYPTION_SETS',
    `${subscriptionOf(set)} has ${limit} sets in "${location}", the most allowed: delete one first`,
    { subscription: subscriptionOf(set), location, limit: String(limit) },
  );
};

const locationMissing = (): Rejection =>
  new Rejection('INVALID_ARGUMENT', 'LOCATION_MISSING', 'location must be the region of the vault', {
    field: 'location',
  });
