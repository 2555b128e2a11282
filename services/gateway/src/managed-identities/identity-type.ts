import type { Random } from '@interlock/runtime';
import { type Static, Type } from '@sinclair/typebox';
import type { Backends } from '../cloud/backends.ts';
import type { Caller } from '../cloud/caller.ts';
import { ifFound } from '../cloud/if-found.ts';
import type { CloudNames } from '../cloud/names.ts';
import type { NamedPath } from '../cloud/resource-names.ts';
import { requireLocation, TagsBody } from '../management/arm.ts';
import type { RecordContent } from '../records/record.ts';
import type { PresentRecord } from '../records/records.ts';
import type { RecordType } from '../resource-types/record-resources.ts';

/** What user-assigned identities need. */
export interface IdentityParts {
  readonly backends: Pick<Backends, 'identity'>;
  readonly names: CloudNames;
  readonly random: Random;
}

/** Type of user-assigned identities. */
const type = 'Microsoft.ManagedIdentity/userAssignedIdentities';

const Body = Type.Object({
  location: Type.Optional(Type.String({ maxLength: 64 })),
  tags: Type.Optional(TagsBody),
});

/**
 * User-assigned identities: principals of the directory without a secret, which disk encryption sets can be given (CMK-40). The
 * principals are those of identity; the path is known to management alone.
 */
export const identityType = (parts: IdentityParts): RecordType<Static<typeof Body>> => ({
  type,
  action: 'identity/userAssignedIdentities',
  does: {
    put: 'Creates a user-assigned identity, or replaces its tags',
    patch: 'Replaces the tags of a user-assigned identity',
    get: 'Reads a user-assigned identity',
    delete: 'Deletes a user-assigned identity: sets that have it lose their keys',
    list: 'user-assigned identities',
  },
  body: Body,
  patch: Body,
  content: (path, body, caller, before) => createPrincipal(parts, path, body, caller, before),
  patched: ({ location }, body) => ({ location: String(location), ...body }),
  async onDelete({ content }, caller) {
    const name = `principals/${String(content.principal)}`;
    await ifFound(parts.backends.identity.deletePrincipal({ name, confirmName: name }, caller.as('identity')));
  },
  shown: (record) => identityBody(parts.names, record),
});

const createPrincipal = async (
  { backends, random }: IdentityParts,
  { name: displayName }: NamedPath,
  { location, tags = {} }: Static<typeof Body>,
  caller: Caller,
  before: RecordContent | undefined,
): Promise<RecordContent> => {
  const { tenant } = caller;
  const region = requireLocation(location);
  const principalId = String(before?.principal ?? random.uuid());
  await backends.identity.createPrincipal(
    { principalId, tenant: `tenants/${tenant}`, type: 'MANAGED_IDENTITY', displayName },
    caller.as('identity'),
  );
  return { location: region, tags, principal: principalId, tenant };
};

/** The identity as clients read it. */
const identityBody = (names: CloudNames, { armId: id, content }: PresentRecord): unknown => ({
  id,
  name: id.split('/').at(-1),
  type,
  location: content.location,
  tags: content.tags ?? {},
  properties: {
    tenantId: names.tenants.shown(String(content.tenant)),
    principalId: content.principal,
    clientId: content.principal,
  },
});
