import type { JsonObject } from '@interlock/event-store';
import type { CallOptions, Workload } from '@interlock/rpc';
import type { Caller } from '../cloud/caller.ts';
import type { Collection, NamedPath } from '../cloud/resource-names.ts';
import type { ResourceExtras } from '../management/resource-records.ts';
import type { Work } from '../operations/operation.ts';
import type { TargetState } from '../operations/outcome.ts';
import type { ResourceType } from './rows.ts';

/** A resource as its service has it. */
export interface ServiceResource {
  /** Interlock name. */
  readonly name: string;
  readonly location: string;
  readonly provisioningState: string;
}

/** A resource in a PUT or PATCH. */
export interface GivenResource {
  readonly location?: string;
  readonly tags?: JsonObject;
  readonly properties?: object;
}

/** Which page of which list. */
export interface PageQuery {
  /** `subscriptions/<s>[/resourceGroups/<g>]`, with Interlock ids. */
  readonly parent: string;
  readonly pageSize: number;
  readonly pageToken: string;
}

/** One page of a list of the service. */
export interface ServicePage<Resource> {
  readonly found: readonly Resource[];
  /** Token of the next page; empty on the last. */
  readonly next: string;
}

/** ARM id of an Interlock name. */
export type IdOf = (name: string) => string;

/** Calls to the service. */
export interface ServiceCalls<Resource, Given> {
  get(name: string, options: CallOptions): Promise<Resource>;
  list(page: PageQuery, options: CallOptions, query: Readonly<Record<string, string>>): Promise<ServicePage<Resource>>;
  /** Creates it, and waits for the end. */
  create(path: NamedPath, body: Given, caller: Caller): Promise<Resource>;
  /** Changes what the body has and the resource has not, and waits for the end; what is absent stays. */
  update(resource: Resource, body: Given, caller: Caller): Promise<Resource>;
  /** Starts the deletion. */
  delete(name: string, options: CallOptions): Promise<unknown>;
}

/** One type of resource that a service has: what differs from other types. `ServiceResources` does the rest. */
export interface ServiceType<Resource extends ServiceResource, Given extends GivenResource>
  extends Omit<ResourceType<Given>, 'type' | 'patch'> {
  readonly collection: Collection;
  readonly service: Workload;
  readonly calls: ServiceCalls<Resource, Given>;
  /** Family of its operations; it also decides how a write is answered. */
  readonly family: Work['family'];
  /** What distinguishes it from an earlier resource of its name: a UUID, or its creation time. */
  readonly incarnationOf: (resource: Resource) => string;
  /** Absent: requests for a certain version are not compared. */
  readonly etagOf?: (resource: Resource) => string;
  /** State that matters for an operation on it. Default: the resource's own. */
  readonly stateOf?: (resource: Resource) => TargetState;
  /** Interlock names of the resources that it names; may be empty texts. */
  readonly namedBy: (resource: Resource) => readonly string[];
  /** What management keeps of it: what was kept before, and over it what the body has. */
  readonly kept: (before: JsonObject, body: Given, resource: Resource, isPatch: boolean) => JsonObject;
  /** The resource as clients read it. */
  readonly shown: (resource: Resource, extras: ResourceExtras, idOf: IdOf) => unknown;
  /** Adds what the query of a GET requests. */
  readonly expanded?: (
    resource: Resource,
    query: Readonly<Record<string, string>>,
    caller: Caller,
  ) => Promise<Resource>;
  /** Interlock names of the disks that a body wants. @param group Interlock name */
  readonly disksIn?: (body: Given, group: string) => readonly string[] | undefined;
  /** Members of `properties` that the reply to a running write leaves out. */
  readonly secrets?: readonly string[];
}
