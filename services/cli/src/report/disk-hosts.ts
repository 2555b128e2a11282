import type { JsonObject } from '@bufbuild/protobuf';
import { Rejection } from '@interlock/event-store';
import type { Caller } from '../request/calls.ts';
import { readList } from '../request/pages.ts';
import { methodOf, Service } from '../request/schema.ts';

/** A disk host, with the disks of a group or subscription that it has. */
export interface HostRow {
  readonly name: string;
  /** `HOST_SERVING`; empty if it is not known. */
  readonly state: string;
  readonly diskCount: number;
}

/** The disk hosts; none if the caller may not list them: they belong to no group. */
export const readDiskHosts = async (caller: Pick<Caller, 'call'>): Promise<readonly JsonObject[]> => {
  try {
    return await readList(caller, 'disk', methodOf(Service.disk, 'ListDiskHosts'));
  } catch (error) {
    if (error instanceof Rejection && error.code === 'PERMISSION_DENIED') return [];
    throw error;
  }
};

/** The disk hosts, also those without disks among these: each with those of them that it has. */
export function hostRows(hosts: readonly JsonObject[], disks: readonly JsonObject[]): readonly HostRow[] {
  const disksOf = Map.groupBy(disks, ({ diskHost }) => String(diskHost ?? ''));
  const listed = new Map(
    hosts.map(({ name, state, liveness }) => [
      String(name),
      `HOST_${state === 'LOST' ? 'LOST' : String(liveness ?? '')}`,
    ]),
  );
  const all = [...new Set([...listed.keys(), ...disksOf.keys()])].filter((name) => name !== '').toSorted();
  return all.map((name) => {
    const own = disksOf.get(name) ?? [];
    return { name, state: listed.get(name) ?? String(own[0]?.diskHostState ?? ''), diskCount: own.length };
  });
}
