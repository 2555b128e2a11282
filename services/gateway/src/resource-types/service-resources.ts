import type { JsonObject } from '@interlock/event-store';
import type { Clock } from '@interlock/runtime';
import type { Caller } from '../cloud/caller.ts';
import { ifFound } from '../cloud/if-found.ts';
import { type CloudNames, scopeName } from '../cloud/names.ts';
import { armTypes, innerName, type NamedPath } from '../cloud/resource-names.ts';
import { listBody, pageOf } from '../http/paging.ts';
import type { Route, RouteReply } from '../http/route.ts';
import { armId, regionOf, requireMatch, resourceNotFound } from '../management/arm.ts';
import { extrasFor, type ResourceExtras, type ResourceRecords } from '../management/resource-records.ts';
import type { Work } from '../operations/operation.ts';
import type { Operations } from '../operations/operations.ts';
import type { ReadState } from '../operations/outcome.ts';
import { readUntil } from '../operations/wait.ts';
import { type ListRequest, type ResourceCalls, type ResourceRequest, rowsOf } from './rows.ts';
import type { GivenResource, ServiceResource, ServiceType } from './service-type.ts';

/** What resources of all types need. */
export interface ServiceParts {
  readonly names: CloudNames;
  readonly resourceRecords: ResourceRecords;
  readonly clock: Clock;
}

/** Work on a resource, without what its type says. */
export interface ResourceWork extends Pick<Work, 'run' | 'accepted' | 'disks'> {
  /** Last segment of the action, for example `write`. */
  readonly verb: string;
  /** Region in the URL of the operation. */
  readonly location: string | undefined;
}

/** Starts work on a resource as an operation. */
export type RunWork = (
  request: Pick<ResourceRequest<unknown>, 'params' | 'query' | 'origin'>,
  caller: Caller,
  work: ResourceWork,
) => Promise<RouteReply>;

/** What a write is answered with: at once, and while it runs. The public cloud has two ways. */
const writeReplies = {
  operations: (isNew: boolean) => {
    const status = isNew ? 201 : 200;
    return { status, accepted: status, state: isNew ? 'Creating' : 'Updating' };
  },
  DiskOperations: () => ({ status: 200, accepted: 202, state: 'Updating' }),
} as const satisfies Readonly<Record<Work['family'], unknown>>;

/** Resources of one type, found by their ARM path. */
export class ServiceResources<Resource extends ServiceResource, Given extends GivenResource> {
  readonly #type: ServiceType<Resource, Given>;
  readonly #parts: ServiceParts;

  constructor(type: ServiceType<Resource, Given>, parts: ServiceParts) {
    this.#type = type;
    this.#parts = parts;
  }

  /** The rows of the type. */
  routes(operations: Operations): readonly Route[] {
    const { body, does, collection } = this.#type;
    const run = this.runner(operations);
    const calls: ResourceCalls<Given> = {
      put: async (request, caller) => this.#write(request, caller, run, await this.find(request.params, caller)),
      patch: async (request, caller) => this.#write(request, caller, run, await this.get(request.params, caller), true),
      read: (request, caller) => this.#show(request, caller),
      remove: (request, caller) => this.#remove(request, caller, run),
      list: (request, caller) => this.#list(request, caller),
    };
    return rowsOf({ type: armTypes[collection], does, body, patch: body }, calls);
  }

  /** Runs work on resources of the type. */
  runner(operations: Operations): RunWork {
    const { collection, family } = this.#type;
    return (request, caller, { verb, location = 'global', ...work }) => {
      const target = innerName(this.#parts.names, request.params, collection);
      const action = `${collection}/${verb}`;
      return operations.run({ ...work, action, target, location: regionOf(location), family }, request, caller);
    };
  }

  /** @returns undefined for a resource that does not exist */
  find(path: NamedPath, caller: Caller): Promise<Resource | undefined> {
    return this.#find(innerName(this.#parts.names, path, this.#type.collection), caller);
  }

  /** @throws RestError 404 */
  async get(path: NamedPath, caller: Caller): Promise<Resource> {
    const found = await this.find(path, caller);
    if (found !== undefined) return found;
    throw resourceNotFound(path, armTypes[this.#type.collection], path.name);
  }

  /** Reads the state of a resource, for the outcome of an operation on it. */
  get readState(): ReadState {
    return async (name, caller) => {
      const found = await this.#find(name, caller);
      return found && (this.#type.stateOf?.(found) ?? found);
    };
  }

  /** What management alone knows of a resource. */
  extras(resource: Resource): Promise<ResourceExtras> {
    return extrasFor(this.#parts.resourceRecords, this.#incarnation(resource));
  }

  /** Stores what management alone knows. @returns the resource as clients read it */
  async keep(
    resource: Resource,
    path: NamedPath,
    kept: { readonly tags: JsonObject; readonly content: JsonObject },
    caller: Caller,
  ): Promise<unknown> {
    const { resourceRecords } = this.#parts;
    const extras = await resourceRecords.put(this.#incarnation(resource), path, kept, caller);
    return this.#type.shown(resource, extras, await resourceRecords.idsOf(this.#type.namedBy(resource)));
  }

  /** Resources as clients read them. */
  async shown(resources: readonly Resource[]): Promise<readonly unknown[]> {
    const { resourceRecords } = this.#parts;
    const extras = await resourceRecords.find(resources.map((one) => this.#incarnation(one)));
    const idOf = await resourceRecords.idsOf(resources.flatMap(this.#type.namedBy));
    return resources.map((one, n) => this.#type.shown(one, extras[n] as ResourceExtras, idOf));
  }

  /** Creates or changes a resource. @param before undefined: it does not exist */
  #write(
    { body, ...request }: ResourceRequest<Given>,
    caller: Caller,
    run: RunWork,
    before: Resource | undefined,
    isPatch = false,
  ): Promise<RouteReply> {
    const { calls, family, etagOf, kept, disksIn } = this.#type;
    const { params, headers } = request;
    if (etagOf !== undefined) requireMatch(headers, before && etagOf(before));
    const { status, accepted, state } = writeReplies[family](before === undefined);
    const group = scopeName(this.#parts.names, params);
    return run(request, caller, {
      verb: 'write',
      location: family === 'operations' ? (before?.location ?? body.location) : body.location,
      disks: disksIn?.(body, group) ?? [],
      accepted: { status: accepted, body: this.#acceptedBody(params, body, state) },
      run: async () => {
        const resource =
          before === undefined ? await calls.create(params, body, caller) : await calls.update(before, body, caller);
        const { tags, content } = await this.extras(resource);
        const extras = { tags: body.tags ?? tags, content: kept(content, body, resource, isPatch) };
        return { status, body: await this.keep(resource, params, extras, caller) };
      },
    });
  }

  /** Deletes a resource, and waits until it is gone. */
  async #remove(request: ResourceRequest<unknown>, caller: Caller, run: RunWork): Promise<RouteReply> {
    const { resourceRecords, clock } = this.#parts;
    const { calls, service, family } = this.#type;
    const found = await this.find(request.params, caller);
    if (found === undefined) return { status: 204 };
    const { name, location } = found;
    return run(request, caller, {
      verb: 'delete',
      location: family === 'operations' ? location : undefined,
      accepted: { status: 202 },
      run: async () => {
        await calls.delete(name, caller.as(service));
        await readUntil(
          clock,
          () => this.#find(name, caller),
          (left) => left === undefined,
        );
        await resourceRecords.forget(name, caller);
        return { status: 200 };
      },
    });
  }

  async #show({ params, query }: ResourceRequest<unknown>, caller: Caller): Promise<RouteReply> {
    const found = await this.get(params, caller);
    const [body] = await this.shown([(await this.#type.expanded?.(found, query, caller)) ?? found]);
    return { body };
  }

  async #list(request: ListRequest, caller: Caller): Promise<RouteReply> {
    const { calls, service } = this.#type;
    const asked = { parent: scopeName(this.#parts.names, request.params), ...pageOf(request) };
    const { found, next } = await calls.list(asked, caller.as(service), request.query);
    return { body: listBody(request, await this.shown(found), next) };
  }

  /** What was given, and that it is not done. */
  #acceptedBody({ name, ...path }: NamedPath, body: Given, provisioningState: string): unknown {
    const { collection, secrets = [] } = this.#type;
    const shown = Object.entries(body.properties ?? {}).filter(([member]) => !secrets.includes(member));
    const properties = { ...Object.fromEntries(shown), provisioningState };
    return { ...body, id: armId(path, armTypes[collection], name), name, properties };
  }

  #incarnation(resource: Resource) {
    return { name: resource.name, incarnation: this.#type.incarnationOf(resource) };
  }

  #find(name: string, caller: Caller): Promise<Resource | undefined> {
    const { calls, service } = this.#type;
    return ifFound(calls.get(name, caller.as(service)));
  }
}
