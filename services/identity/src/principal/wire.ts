import {
  type Principal_Type,
  Principal as WirePrincipal,
} from '@interlock/contracts/interlock/identity/v1/principal.ts';
import { type Loaded, Rejection } from '@interlock/event-store';
import type { Principal } from './decider.ts';
import type { PrincipalType } from './events.ts';

/** Types of principals as the API names them. */
export const principalTypeOnWire = {
  user: 'USER',
  application: 'APPLICATION',
  managed_identity: 'MANAGED_IDENTITY',
} as const satisfies Record<PrincipalType, Principal_Type>;

/** A principal as the API shows it. @throws Rejection NOT_FOUND PRINCIPAL_NOT_FOUND if it never existed */
export const principalOnWire = ({ id, state, version }: Loaded<Principal>): WirePrincipal => {
  if (state.status === 'absent') throw principalNotFound(id);
  const secrets = state.status === 'active' ? Object.entries(state.secrets) : [];
  return WirePrincipal.fromPartial({
    name: `principals/${id}`,
    tenant: state.tenant,
    type: principalTypeOnWire[state.principalType],
    displayName: state.displayName,
    state: state.status === 'active' ? 'ACTIVE' : 'DELETED',
    owner: state.owner ?? '',
    workload: state.workload ?? '',
    secrets: secrets.map(([secretId, secret]) => ({
      secretId,
      certificateThumbprint: secret.certificate === undefined ? '' : secret.hash,
      createTime: new Date(secret.createdAt),
      ...(secret.expiresAt === undefined ? {} : { expireTime: new Date(secret.expiresAt) }),
    })),
    createTime: new Date(state.createdAt),
    ...(state.status === 'deleted' ? { deleteTime: new Date(state.deletedAt) } : {}),
    etag: String(version),
  });
};

/** @returns the refusal of a request about a principal that never existed */
export const principalNotFound = (id: string): Rejection =>
  new Rejection('NOT_FOUND', 'PRINCIPAL_NOT_FOUND', `principals/${id} does not exist`, { name: `principals/${id}` });
