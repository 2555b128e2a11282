import type { Clock, Logger } from '@interlock/runtime';
import type { Caller } from '../cloud/caller.ts';
import { type CloudNames, groupName } from '../cloud/names.ts';
import type { Dispatch, OwnHeaders, OwnReply } from '../http/dispatch.ts';
import type { PresentRecord, Records } from '../records/records.ts';
import { isRenewed, whileRenewing } from '../records/renewal.ts';
import { armId, type ResourcePath } from './arm.ts';

/** What the deletion of groups needs. */
export interface DeletionParts {
  readonly names: CloudNames;
  readonly records: Records;
  readonly dispatch: Dispatch;
  readonly clock: Clock;
  readonly log: Logger;
  /** Interlock names of the resources in a group. */
  readonly resourcesIn: (group: string, caller: Caller) => Promise<readonly string[]>;
}

/** Types in the order in which they are deleted: what uses another resource comes before it. With the collection of their Interlock names. */
const typesInOrder: readonly (readonly [collection: string, type: string, apiVersion: string])[] = [
  ['virtualMachines', 'Microsoft.Compute/virtualMachines', '2024-11-01'],
  ['snapshots', 'Microsoft.Compute/snapshots', '2023-10-02'],
  ['disks', 'Microsoft.Compute/disks', '2023-04-02'],
  ['diskEncryptionSets', 'Microsoft.Compute/diskEncryptionSets', '2023-04-02'],
  ['vaults', 'Microsoft.KeyVault/vaults', '2023-02-01'],
];

/** Deleted after all of these by their own route: sets may have them. */
const identities = ['Microsoft.ManagedIdentity/userAssignedIdentities', '2023-01-31'] as const;

/** Most rounds of deletions, and the pause after each in milliseconds: lists may lag. */
const roundsMax = 1_000;
const pauseMs = 200;

/** Types that only management knows. */
const recordTypes = [
  'Microsoft.Network/networkInterfaces',
  'Microsoft.Network/publicIPAddresses',
  'Microsoft.Network/virtualNetworks',
  'Microsoft.Network/networkSecurityGroups',
  'Microsoft.Resources/deployments',
];

/**
 * Deletes groups with what they have, with the rights of the caller. Each step may be repeated: if a replica ends in the middle, a
 * later request about the deletion, at any replica, continues it.
 */
export class GroupDeletion {
  readonly #parts: DeletionParts;
  /** Running here, by ARM id in lower case. */
  readonly #running = new Set<string>();

  constructor(parts: DeletionParts) {
    this.#parts = parts;
  }

  /** Runs the deletion of a group that is marked as being deleted, unless it runs here already. Its end is in the record. */
  run(path: ResourcePath, record: PresentRecord, caller: Caller, headers: OwnHeaders): void {
    const id = record.armId.toLowerCase();
    if (this.#running.has(id)) return;
    this.#running.add(id);
    whileRenewing(this.#parts, { armId: record.armId, caller }, () => this.#delete(path, record, caller, headers))
      .catch((error: unknown) => this.#fail(record, caller, 'InternalServerError', String(error)))
      // The store failed too: the next request about the deletion runs it again.
      .catch((error: unknown) =>
        this.#parts.log.warn('group deletion stopped before its end', { group: record.armId, error }),
      )
      .finally(() => this.#running.delete(id));
  }

  /** Continues a deletion that lost its replica. */
  resume(path: ResourcePath, record: PresentRecord, caller: Caller, headers: OwnHeaders): void {
    if (!isRenewed(record, this.#parts.clock)) this.run(path, record, caller, headers);
  }

  async #delete(path: ResourcePath, record: PresentRecord, caller: Caller, headers: OwnHeaders): Promise<void> {
    const { names, records, dispatch, clock, resourcesIn } = this.#parts;
    const group = groupName(names, path.subscription, path.group);
    let rounds = 0;
    // A list has one page of each type, so it is read until nothing is left.
    for (let left = await resourcesIn(group, caller); left.length > 0; left = await resourcesIn(group, caller)) {
      if (rounds++ >= roundsMax) {
        return this.#fail(
          record,
          caller,
          'ResourceGroupDeletionTimeout',
          `${left[0]} is still there after ${roundsMax} rounds`,
        );
      }
      for (const [collection, type, apiVersion] of typesInOrder) {
        for (const name of left.filter((one) => one.split('/').at(-2) === collection)) {
          const url = `${armId(path, type, name.split('/').at(-1) ?? '')}?api-version=${apiVersion}`;
          const reply = await dispatch.send({ method: 'DELETE', url }, headers);
          if (reply.status >= 400)
            return this.#fail(record, caller, 'ResourceGroupDeletionBlocked', reasonOf(url, reply));
        }
      }
      await clock.sleep(pauseMs);
    }
    const [identityType, apiVersion] = identities;
    for (const { armId: id } of await records.listBeside(armId(path, identityType, '-'))) {
      const url = `${id}?api-version=${apiVersion}`;
      const reply = await dispatch.send({ method: 'DELETE', url }, headers);
      if (reply.status >= 400) return this.#fail(record, caller, 'ResourceGroupDeletionBlocked', reasonOf(url, reply));
    }
    for (const type of recordTypes) {
      const found = await records.listBeside(armId(path, type, '-'));
      await Promise.all(found.map(({ armId: id }) => records.delete(id, caller)));
    }
    await records.delete(record.armId, caller);
  }

  async #fail({ armId: id, content }: PresentRecord, caller: Caller, code: string, message: string): Promise<void> {
    const { deleting: _deleting, ...rest } = content;
    await this.#parts.records.put(id, { ...rest, deletionError: { code, message } }, caller);
  }
}

const reasonOf = (url: string, { status, body }: OwnReply): string => {
  const { error } = (body ?? {}) as { readonly error?: { readonly code: string; readonly message: string } };
  return `${url.split('?')[0]} could not be deleted: ${error === undefined ? `status ${status}` : `(${error.code}) ${error.message}`}`;
};
