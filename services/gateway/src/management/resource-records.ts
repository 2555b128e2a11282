import type { JsonObject } from '@interlock/event-store';
import type { Caller } from '../cloud/caller.ts';
import type { CloudNames } from '../cloud/names.ts';
import { armIdOfName, armTypes, type Collection, lastSegment, type NamedPath } from '../cloud/resource-names.ts';
import type { Records } from '../records/records.ts';
import { armId } from './arm.ts';

/** What management alone knows of a resource. */
export interface ResourceExtras {
  /** ARM id in the case that a client used last (REST-02). */
  readonly id: string;
  readonly tags: JsonObject;
  /** Members of `properties` and of the resource that no service has. */
  readonly content: JsonObject;
}

/** A resource of a service: its name, and what distinguishes it from an earlier resource of that name. */
export interface Incarnation {
  readonly name: string;
  /** Creation time or UUID. */
  readonly incarnation: string;
}

/** Tags, case, and other members of resources that services have: stored separately, and invalid for a later resource of the name. */
export interface ResourceRecords {
  /** In the order of the resources. */
  find(resources: readonly Incarnation[]): Promise<readonly ResourceExtras[]>;
  put(
    resource: Incarnation,
    path: NamedPath,
    extras: { readonly tags: JsonObject; readonly content: JsonObject },
    caller: Caller,
  ): Promise<ResourceExtras>;
  /** ARM ids of resources by their Interlock names, in the case that clients used last. */
  idsOf(names: readonly string[]): Promise<(name: string) => string>;
  /** After the resource is deleted. @param name Interlock name */
  forget(name: string, caller: Caller): Promise<void>;
}

/** Opens them over the gateway's records. */
export const openResourceRecords = (records: Records, names: CloudNames): ResourceRecords => {
  /** The stream of a resource, with the Interlock id of the subscription: clients may use either id. */
  const key = (name: string, last = lastSegment(name)): string => {
    const [, subscription = '', , group = '', collection = ''] = name.split('/');
    return armId({ subscription, group }, armTypes[collection as Collection], last);
  };
  const shown = (id: string): string => {
    const [, , subscription = '', ...rest] = id.split('/');
    return ['', 'subscriptions', names.subscriptions.shown(subscription), ...rest].join('/');
  };
  return {
    async find(resources) {
      const found = await records.findMany(resources.map(({ name }) => key(name)));
      return resources.map(({ name, incarnation }, n): ResourceExtras => {
        const record = found[n];
        if (record === undefined || record.content.incarnation !== incarnation)
          return { id: armIdOfName(names, name), tags: {}, content: {} };
        const { tags, content } = record.content as { tags: JsonObject; content: JsonObject };
        return { id: shown(record.armId), tags, content };
      });
    },
    async put({ name, incarnation }, { subscription, group, name: last }, { tags, content }, caller) {
      const id = key(name, last).replace(/\/resourceGroups\/[^/]+/, () => `/resourceGroups/${group}`);
      await records.put(id, { incarnation, tags, content }, caller);
      return { id: armId({ subscription, group }, armTypes[name.split('/')[4] as Collection], last), tags, content };
    },
    async idsOf(named) {
      const wanted = [...new Set(named.filter((name) => name !== ''))];
      const found = await records.findMany(wanted.map((name) => key(name)));
      const ids = new Map(
        found.flatMap((record, n) => (record === undefined ? [] : [[wanted[n] ?? '', shown(record.armId)]])),
      );
      return (name) => ids.get(name) ?? armIdOfName(names, name);
    },
    forget: (name, caller) => records.delete(key(name), caller),
  };
};

/** The only extras of one resource. */
export const extrasFor = async (records: ResourceRecords, resource: Incarnation): Promise<ResourceExtras> => {
  const [extras] = await records.find([resource]);
  if (extras === undefined) throw new Error(`no answer about ${resource.name}`);
  return extras;
};
