import type { Caller } from '../cloud/caller.ts';
import { type CloudNames, scopeName } from '../cloud/names.ts';
import type { NamedPath } from '../cloud/resource-names.ts';
import { listBody } from '../http/paging.ts';
import type { Route, RouteReply } from '../http/route.ts';
import { armId, resourceNotFound } from '../management/arm.ts';
import type { Require } from '../management/permissions.ts';
import type { RecordContent } from '../records/record.ts';
import type { PresentRecord, Records } from '../records/records.ts';
import { type ListPath, type ResourceType, rowsOf } from './rows.ts';

/** One type of resource that only management knows: what differs from other types. `RecordResources` does the rest. */
export interface RecordType<Given, Patch = Given> extends ResourceType<Given, Patch> {
  /** How the actions begin that a caller needs, for example `network/virtualNetworks`. */
  readonly action: string;
  /** What is stored of a PUT. @param before undefined: it is new @throws RestError */
  readonly content: (
    path: NamedPath,
    body: Given,
    caller: Caller,
    before: RecordContent | undefined,
  ) => RecordContent | Promise<RecordContent>;
  /** The body of the PUT that a PATCH of the stored content amounts to. */
  readonly patched: (content: RecordContent, body: Patch) => Given;
  /** Runs before the record is deleted. */
  readonly onDelete?: (record: PresentRecord, caller: Caller) => Promise<void>;
  /** The resource as clients read it. */
  readonly shown: (record: PresentRecord) => unknown;
}

/** What resources of all types need. */
export interface RecordParts {
  readonly names: CloudNames;
  readonly records: Records;
  readonly require: Require;
}

/** Resources of one type, found by their ARM path. */
export class RecordResources<Given, Patch = Given> {
  readonly #type: RecordType<Given, Patch>;
  readonly #parts: RecordParts;

  constructor(type: RecordType<Given, Patch>, parts: RecordParts) {
    this.#type = type;
    this.#parts = parts;
  }

  /** The rows of the type. */
  routes(): readonly Route[] {
    const { shown, patched } = this.#type;
    return rowsOf(this.#type, {
      put: ({ params, body }, caller) => this.put(params, body, caller),
      patch: async ({ params, body }, caller) => {
        const { content } = await this.get(params, caller);
        const { body: changed } = await this.put(params, patched(content, body), caller);
        return { body: changed };
      },
      read: async ({ params }, caller) => ({ body: shown(await this.get(params, caller)) }),
      remove: ({ params }, caller) => this.#delete(params, caller),
      list: async (request, caller) => {
        const found = await this.#list(request.params, caller);
        return { body: listBody(request, found.map(shown), '') };
      },
    });
  }

  /** Creates or replaces it. */
  async put(path: NamedPath, body: Given, caller: Caller): Promise<RouteReply> {
    const { records } = this.#parts;
    await this.#check('write', path, caller);
    const id = this.#id(path);
    const before = (await records.find(id))?.content;
    const { record, isNew } = await records.put(id, await this.#type.content(path, body, caller, before), caller);
    return { status: isNew ? 201 : 200, body: this.#type.shown(record) };
  }

  /** @throws RestError 404 */
  async get(path: NamedPath, caller: Caller): Promise<PresentRecord> {
    await this.#check('read', path, caller);
    const record = await this.#parts.records.find(this.#id(path));
    if (record !== undefined) return record;
    throw resourceNotFound(path, this.#type.type, path.name);
  }

  async #delete(path: NamedPath, caller: Caller): Promise<RouteReply> {
    const { records } = this.#parts;
    await this.#check('delete', path, caller);
    const record = await records.find(this.#id(path));
    if (record === undefined) return { status: 204 };
    await this.#type.onDelete?.(record, caller);
    await records.delete(record.armId, caller);
    return { status: 200 };
  }

  async #list(path: ListPath, caller: Caller): Promise<readonly PresentRecord[]> {
    await this.#check('read', path, caller);
    const { subscription, group } = path;
    return group === undefined
      ? this.#parts.records.listOfType(subscription, this.#type.type)
      : this.#parts.records.listBeside(this.#id({ subscription, group, name: '-' }));
  }

  #id({ name, ...path }: NamedPath): string {
    return armId(path, this.#type.type, name);
  }

  #check(verb: 'read' | 'write' | 'delete', path: ListPath, caller: Caller): Promise<void> {
    return this.#parts.require(caller, `${this.#type.action}/${verb}`, scopeName(this.#parts.names, path));
  }
}
