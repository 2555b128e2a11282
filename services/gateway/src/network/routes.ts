import type { Json, JsonObject } from '@interlock/event-store';
import { type Static, Type } from '@sinclair/typebox';
import type { Caller } from '../cloud/caller.ts';
import type { NamedPath } from '../cloud/resource-names.ts';
import { RestError } from '../errors/rest-error.ts';
import { listBody } from '../http/paging.ts';
import { type Route, route } from '../http/route.ts';
import { requireLocation, TagsBody } from '../management/arm.ts';
import type { RecordContent } from '../records/record.ts';
import type { PresentRecord } from '../records/records.ts';
import { type RecordParts, RecordResources, type RecordType } from '../resource-types/record-resources.ts';
import { pathOf } from '../resource-types/rows.ts';
import { membersOf } from '../text/members.ts';
import { type NetworkType, networkBody, networkTypes, partBody } from './bodies.ts';

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

type NetworkGiven = Static<typeof NetworkBody>;
type Kept = RecordResources<NetworkGiven, Static<typeof TagsPatch>>;

const host = 'gateway';
const validName = /^[\w.-]{1,80}$/;

/** Network resources: kept and returned, without an effect. Tools that create machines expect them. */
export const networkRoutes = (parts: RecordParts): readonly Route[] => [
  ...networkTypes.flatMap((type) => new RecordResources(networkType(type), parts).routes()),
  ...subnetRoutes(new RecordResources(networkType('virtualNetworks'), parts)),
];

const networkType = (type: NetworkType): RecordType<NetworkGiven, Static<typeof TagsPatch>> => ({
  type: `Microsoft.Network/${type}`,
  action: `network/${type}`,
  does: {
    put: `Keeps one of ${type}, without an effect`,
    patch: `Replaces the tags of one of ${type}`,
    get: `Reads one of ${type}`,
    delete: `Deletes one of ${type}`,
    list: type,
  },
  body: NetworkBody,
  patch: TagsPatch,
  content: ({ name }, { location, tags = {}, sku, zones, properties = {} }) => {
    if (!validName.test(name)) {
      throw new RestError(
        400,
        'InvalidResourceName',
        'The name of a network resource has 1 to 80 letters, digits, and _ . -',
      );
    }
    const kept = { ...(sku && { sku }), ...(zones && { zones }), properties };
    return { location: requireLocation(location), tags, ...kept } as RecordContent;
  },
  patched: (content, { tags }) => ({ ...content, ...(tags && { tags }) }),
  shown: (record) => networkBody(type, record),
});

type SubnetPath = NamedPath & { readonly subnet: string };

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
  const all = `${pathOf('Microsoft.Network/virtualNetworks')}/subnets` as const;
  const path = `${all}/:subnet` as const;
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
      path: all,
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

const withSubnets = (content: RecordContent, subnets: readonly JsonObject[]): NetworkGiven => ({
  ...content,
  properties: { ...(content.properties as JsonObject | undefined), subnets },
});
