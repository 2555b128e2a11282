import type {
  CreateDiskEncryptionSetRequest,
  DeleteDiskEncryptionSetRequest,
  GetDiskEncryptionSetRequest,
  ListDiskEncryptionSetsRequest,
  DiskEncryptionSet as WireSet,
} from '@interlock/contracts/interlock/disk_encryption_set/v1/disk_encryption_set.ts';
import { type Category, type Cause, Rejection } from '@interlock/event-store';
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
import { type Clock, DomainAttribute, type Logger, type Random } from '@interlock/runtime';
import { trace } from '@opentelemetry/api';
import type { ChooseKey } from '../key/key-choice.ts';
import { isOutage } from '../upkeep/outages.ts';
import { create, isSameWish, setNotFound, startDeletion } from './decider.ts';
import type { SetEvent } from './events.ts';
import { askedOptionsOf } from './options.ts';
import type { DiskEncryptionSet } from './state.ts';
import { regionIndex } from './streams.ts';
import { encryptionTypeOf, existedOnWire, setOnWire } from './wire.ts';

/** Sets from their making to their end: request in, resource out. */
export const setApi = (parts: {
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Logger;
  readonly authorize: Authorizer;
  readonly sets: Category<DiskEncryptionSet, SetEvent>;
  readonly subscriptions: Pick<Subscriptions, 'requireOwn'>;
  readonly chooseKey: ChooseKey;
  readonly finishCreation: (set: string, cause: Cause) => Promise<void>;
  /** Answers what is asked about the keys of a set that was made. */
  readonly firstCheck: (set: string, cause: Cause) => Promise<void>;
  readonly finishDeletion: (set: string, cause: Cause) => Promise<void>;
  readonly attend: (set: string, cause: Cause) => void;
  /** Sets of one subscription in one region (CMK-140). */
  readonly setsPerRegionMax: number;
}) => {
  const { clock, random, log, sets, subscriptions, chooseKey, setsPerRegionMax } = parts;

  /** Goes as far as the others answer; the rest is done behind the request, which shows the set on its way. */
  const asFarAsPossible = async (set: string, step: Promise<void>): Promise<void> => {
    try {
      await step;
    } catch (error) {
      if (!isOutage(error)) throw error;
      log.warn('a set is finished later', { set, error });
    }
  };

  const checkLimit = async (set: string, location: string): Promise<void> => {
    const { items } = await sets.list({ index: regionIndex(set, location), limit: setsPerRegionMax });
    if (items.length < setsPerRegionMax) return;
    throw new Rejection(
      'RESOURCE_EXHAUSTED',
      'TOO_MANY_DISK_ENCRYPTION_SETS',
      `${subscriptionOf(set)} has ${setsPerRegionMax} sets in "${location}", the most allowed: delete one first`,
      { subscription: subscriptionOf(set), location, limit: String(setsPerRegionMax) },
    );
  };

  return {
    async createDiskEncryptionSet(request: CreateDiskEncryptionSetRequest, call: Call): Promise<WireSet> {
      const { cause } = call;
      names.resourceGroup.parse(request.parent, 'parent');
      const id = checkId(request.diskEncryptionSetId, 'diskEncryptionSet', 'disk_encryption_set_id');
      const set = `${request.parent}/diskEncryptionSets/${id}`;
      trace.getActiveSpan()?.setAttribute(DomainAttribute.diskEncryptionSet, set);
      const { keyUrl, sourceVault, location } = request;
      if (location.trim() === '') throw locationMissing();
      const wish = {
        location,
        encryptionType: encryptionTypeOf(request.encryptionType),
        askedKey: { keyUrl, sourceVault },
        askedOptions: askedOptionsOf(request),
      };
      const { state: known } = await sets.load(set);
      // A repeat is answered without the vault: its key may be lost, or another, by now.
      const isRepeat = (known.status === 'creating' || known.status === 'active') && isSameWish(known, wish);
      if (!isRepeat) {
        await subscriptions.requireOwn(set, call);
        const { key, tenant } = await chooseKey({ set, location, keyUrl, sourceVault }, cause);
        if (known.status === 'absent' || known.status === 'deleted') await checkLimit(set, location);
        const founding = { ...wish, tenant, principal: `principals/${random.uuid()}` };
        await sets.transact(set, create(clock.now(), founding, key), cause);
      }
      await asFarAsPossible(set, parts.finishCreation(set, cause));
      // Whoever made the set is to see whether its identity can use the key, or what it lacks (CMK-05).
      await asFarAsPossible(set, parts.firstCheck(set, cause));
      parts.attend(set, cause);
      return setOnWire(await sets.load(set));
    },

    async getDiskEncryptionSet({ name }: GetDiskEncryptionSetRequest, call: Call): Promise<WireSet> {
      names.diskEncryptionSet.parse(name, 'name');
      // Disk and compute read the sets of their disks; everybody else needs a role.
      const caller = principalOf(call);
      if (caller.workload !== 'disk' && caller.workload !== 'compute') {
        await requirePermission(parts.authorize, caller, 'compute/diskEncryptionSets/read', name);
      }
      return setOnWire(await sets.load(name));
    },

    async listDiskEncryptionSets(request: ListDiskEncryptionSetsRequest) {
      const { parent } = request;
      const pattern = parent.includes('/resourceGroups/') ? names.resourceGroup : names.subscription;
      pattern.parse(parent, 'parent');
      const { items, next } = await sets.list({ ...pageOf(request), prefix: `${parent}/` });
      return { diskEncryptionSets: items.map(setOnWire), nextPageToken: pageToken(next) };
    },

    async deleteDiskEncryptionSet({ name, etag }: DeleteDiskEncryptionSetRequest, { cause }: Call): Promise<WireSet> {
      names.diskEncryptionSet.parse(name, 'name');
      trace.getActiveSpan()?.setAttribute(DomainAttribute.diskEncryptionSet, name);
      await sets.transact(name, startDeletion(clock.now()), cause, expectedVersion(etag));
      await asFarAsPossible(name, parts.finishDeletion(name, cause));
      const { state, ...loaded } = await sets.load(name);
      if (state.status === 'absent') throw setNotFound(name);
      return existedOnWire({ ...loaded, state });
    },
  };
};

const locationMissing = (): Rejection =>
  new Rejection('INVALID_ARGUMENT', 'LOCATION_MISSING', 'location must be the region of the vault', {
    field: 'location',
  });
