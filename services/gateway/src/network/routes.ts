import type { Json, JsonObject } from '@interlock/event-store';
import { type Static, Type } from '@sinclair/typebox';
import type { Caller } from '../cloud/caller.ts';
import { type CloudNames, groupName } from '../cloud/names.ts';
import { RestError } from '../errors/rest-error.ts';
import { listBody } from '../http/paging.ts';
import { type Route, type RouteReply, route } from '../http/route.ts';
import { armId, type ResourcePath, requireLocation, resourceNotFound, TagsBody } from '../management/arm.ts';
import type { Require } from '../management/permissions.ts';
import type { RecordContent } from '../records/record.ts';
import type { PresentRecord, Records } from '../records/records.ts';
import { membersOf } from '../text/members.ts';
import { type NetworkType, networkBody, networkTypes, partBody } from './bodies.ts';

/** What the routes of the network need. */
export interface NetworkParts {
  readonly names: CloudNames;
  readonly records: Records;
  readonly require: Require;
}

const Members = membersOf(Type.Unknown());

const NetworkBody = Type.Object({
  location: Type.Optional(Type.String({ maxLength: 64 })),
  tags: Type.Optional(TagsBody),
  sku: Type.Optional(Members),
  zones: Type.Optional(Type.Array(Type.String())),
  properties: Type.Optional(Members),
});

const TagsPatch = Type.Object({ tags: Type.Optional(TagsBody) });
const SubnetBody = Type.Object({ properties: Type.Optional(Members) });

const host = 'gateway';
const group = '/subscriptions/:subscription/resourceGroups/:group/providers/Microsoft.Network';
const validName = /^[\w.-]{1,80}$/;

interface NetworkPath extends ResourcePath {
  readonly name: string;
}

/** Network resources: kept and returned, without an effect. Tools that create machines expect them. */
export const networkRoutes = (parts: NetworkParts): readonly Route[] => [
  ...networkTypes.flatMap((type) => {
    const kept = new Kept(parts, type);
    return [...changingRoutes(kept, type), ...listRoutes(kept, type)];
  }),
  ...subnetRoutes(new Kept(parts, 'virtualNetworks')),
];

const changingRoutes = (kept: Kept, type: NetworkType): readonly Route[] => {
  const path = `${group}/${type}/:name` as const;
  return [
    route({
      host,
      method: 'PUT',
      path,
      does: `Keeps one of ${type}, without an effect`,
      body: NetworkBody,
      handle: ({ params, body }, caller) => kept.put(params, body, caller),
    }),
    route({
      host,
      method: 'PATCH',
      path,
      does: `Replaces the tags of one of ${type}`,
      body: TagsPatch,
      handle: async ({ params, body }, caller) => {
        const { content } = await kept.get(params, caller);
        return kept.put(params, { ...content, ...(body.tags && { tags: body.tags }) }, caller);
      },
    }),
    route({
      host,
      method: 'GET',
      path,
      does: `Reads one of ${type}`,
      handle: async ({ params }, caller) => ({ body: networkBody(type, await kept.get(params, caller)) }),
    }),
    route({
      host,
      method: 'DELETE',
      path,
      does: `Deletes one of ${type}`,
      handle: ({ params }, caller) => kept.delete(params, caller),
    }),
  ];
};

const listRoutes = (kept: Kept, type: NetworkType): readonly Route[] => [
  route({
    host,
    method: 'GET',
    path: `${group}/${type}`,
    does: `Lists ${type} of a group`,
    handle: async (request, caller) => {
      const found = await kept.list(request.params, caller);
      return {
        body: listBody(
          request,
          found.map((one) => networkBody(type, one)),
          '',
        ),
      };
    },
  }),
  route({
    host,
    method: 'GET',
    path: `/subscriptions/:subscription/providers/Microsoft.Network/${type}`,
    does: `Lists ${type} of a subscription`,
    handle: async (request, caller) => {
      const found = await kept.list(request.params, caller);
      return {
        body: listBody(
          request,
          found.map((one) => networkBody(type, one)),
          '',
        ),
      };
    },
  }),
];

type SubnetPath = NetworkPath & { readonly subnet: string };

const findSubnet = async (kept: Kept, params: SubnetPath, caller: Caller) => {
  const record = await kept.get(params, caller);
  const subnets = subnetsOf(record.content);
  const isWanted = (one: JsonObject): boolean => String(one.name).toLowerCase() === params.subnet.toLowerCase();
  return { record, found: subnets.find(isWanted), others: subnets.filter((one) => !isWanted(one)) };
};

const subnetBody = (record: PresentRecord, subnet: Json): Json =>
  partBody(`${record.armId}/subnets`, 'Microsoft.Network/virtualNetworks/subnets', subnet);

/** Subnets are parts of their network, and clients also change them one by one. */
const subnetRoutes = (kept: Kept): readonly Route[] => {
  const path = `${group}/virtualNetworks/:name/subnets/:subnet` as const;
  return [
    route({
      host,
      method: 'PUT',
      path,
      does: 'Keeps a subnet, without an effect',
      body: SubnetBody,
      handle: async ({ params, body }, caller) => {
        const { record, found, others } = await findSubnet(kept, params, caller);
        const subnet = { name: params.subnet, properties: (body.properties ?? {}) as JsonObject };
        await kept.put(params, withSubnets(record.content, [...others, subnet]), caller);
        return { status: found === undefined ? 201 : 200, body: subnetBody(record, subnet) };
      },
    }),
    route({
      host,
      method: 'GET',
      path,
      does: 'Reads a subnet',
      handle: async ({ params }, caller) => {
        const { record, found } = await findSubnet(kept, params, caller);
        if (found === undefined) {
          throw new RestError(404, 'NotFound', `The subnet ${params.subnet} of ${params.name} does not exist.`);
        }
        return { body: subnetBody(record, found) };
      },
    }),
    route({
      host,
      method: 'GET',
      path: `${group}/virtualNetworks/:name/subnets`,
      does: 'Lists the subnets of a network',
      handle: async (request, caller) => {
        const record = await kept.get(request.params, caller);
        return {
          body: listBody(
            request,
            subnetsOf(record.content).map((one) => subnetBody(record, one)),
            '',
          ),
        };
      },
    }),
    route({
      host,
      method: 'DELETE',
      path,
      does: 'Deletes a subnet',
      handle: async ({ params }, caller) => {
        const { record, found, others } = await findSubnet(kept, params, caller);
        if (found === undefined) return { status: 204 };
        await kept.put(params, withSubnets(record.content, others), caller);
        return { status: 200 };
      },
    }),
  ];
};

const subnetsOf = ({ properties }: RecordContent): readonly JsonObject[] => {
  const { subnets } = (properties ?? {}) as { readonly subnets?: unknown };
  return Array.isArray(subnets) ? subnets.filter((one) => typeof one === 'object' && one !== null) : [];
};

const withSubnets = (content: RecordContent, subnets: readonly JsonObject[]): Static<typeof NetworkBody> => ({
  ...content,
  properties: { ...(content.properties as JsonObject | undefined), subnets },
});

/** Records of one type. */
class Kept {
  readonly #parts: NetworkParts;
  readonly #type: NetworkType;

  constructor(parts: NetworkParts, type: NetworkType) {
    this.#parts = parts;
    this.#type = type;
  }

  async put(path: NetworkPath, body: Static<typeof NetworkBody>, caller: Caller): Promise<RouteReply> {
    await this.#check('write', path, caller);
    if (!validName.test(path.name)) {
      throw new RestError(
        400,
        'InvalidResourceName',
        'The name of a network resource has 1 to 80 letters, digits, and _ . -',
      );
    }
    const { location, tags = {}, sku, zones, properties = {} } = body;
    const content = {
      location: requireLocation(location),
      tags,
      ...(sku && { sku }),
      ...(zones && { zones }),
      properties,
    } as RecordContent;
    const { record, isNew } = await this.#parts.records.put(this.#id(path), content, caller);
    return { status: isNew ? 201 : 200, body: networkBody(this.#type, record) };
  }

  /** @throws RestError 404 */
  async get(path: NetworkPath, caller: Caller): Promise<PresentRecord> {
    await this.#check('read', path, caller);
    const record = await this.#parts.records.find(this.#id(path));
    if (record !== undefined) return record;
    throw resourceNotFound(path, `Microsoft.Network/${this.#type}`, path.name);
  }

  async delete(path: NetworkPath, caller: Caller): Promise<RouteReply> {
    await this.#check('delete', path, caller);
    const record = await this.#parts.records.find(this.#id(path));
    if (record === undefined) return { status: 204 };
    await this.#parts.records.delete(record.armId, caller);
    return { status: 200 };
  }

  /** Of a group, or of the whole subscription. */
  async list(
    path: { readonly subscription: string; readonly group?: string },
    caller: Caller,
  ): Promise<readonly PresentRecord[]> {
    await this.#check('read', path, caller);
    const { records } = this.#parts;
    const { subscription, group } = path;
    const type = `Microsoft.Network/${this.#type}`;
    return group === undefined
      ? records.listOfType(subscription, type)
      : records.listBeside(armId({ subscription, group }, type, '-'));
  }

  #id({ name, ...path }: NetworkPath): string {
    return armId(path, `Microsoft.Network/${this.#type}`, name);
  }

  #check(
    verb: string,
    { subscription, group }: { readonly subscription: string; readonly group?: string },
    caller: Caller,
  ): Promise<void> {
    const { names, require } = this.#parts;
    const scope =
      group === undefined
        ? `subscriptions/${names.subscriptions.inner(subscription)}`
        : groupName(names, subscription, group);
    return require(caller, `network/${this.#type}/${verb}`, scope);
  }
}
