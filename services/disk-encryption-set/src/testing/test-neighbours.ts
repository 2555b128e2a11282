import { Principal } from '@interlock/contracts/interlock/identity/v1/principal.ts';
import { ListSubscriptionsResponse } from '@interlock/contracts/interlock/identity/v1/tenant.ts';
import { Rejection } from '@interlock/event-store';
import type { Identities, Neighbours } from '../sets.ts';
import { fakeDisks, fakeMachines } from './test-neighbour-disks.ts';
import { fakeKey, fakeKeyVault, versionOf } from './test-neighbour-keys.ts';
import { FakeState, methodsOf } from './test-neighbour-state.ts';

/** The other services, faked: their state, the calls made to them, and outages on demand. */
export type FakeNeighbours = FakeState & Neighbours;

/**
 * Creates them with two usable keys, `1…` and `2…`. Tests fail every call of a process once, before and after its
 * effect, and the clock does not move. The real services, which run with the sets in e2e/simulation, need time to pass.
 */
export const fakeNeighbours = (): FakeNeighbours => {
  const state = new FakeState();
  for (const digit of ['1', '2']) state.keys.set(versionOf(digit), fakeKey(digit));
  return Object.assign(state, {
    keyVault: fakeKeyVault(state),
    disks: fakeDisks(state),
    machines: fakeMachines(state),
    identities: fakeIdentities(state),
  });
};

/** The methods of identity that the sets call. */
const fakeIdentities = (state: FakeState): Identities => {
  const call = methodsOf(state);
  return {
    listSubscriptions: call('listSubscriptions', ({ tenant = '' }) =>
      ListSubscriptionsResponse.fromPartial({
        subscriptions: tenant === 'tenants/main' ? [{ name: 'subscriptions/s1' }, { name: 'subscriptions/s2' }] : [],
      }),
    ),
    createManagedIdentity: call('createManagedIdentity', ({ principalId = '', owner = '' }) => {
      const name = `principals/${principalId}`;
      const known = state.principals.get(name);
      if (known?.isDeleted) throw new Rejection('ALREADY_EXISTS', 'PRINCIPAL_ALREADY_EXISTS', name);
      if (!known) state.principals.set(name, { owner, isDeleted: false });
      return Principal.fromPartial({ name, owner });
    }),
    getPrincipal: call('getPrincipal', ({ name = '' }) => {
      const known = state.principals.get(name);
      if (!known) throw new Rejection('NOT_FOUND', 'PRINCIPAL_NOT_FOUND', name);
      const lifeState = known.isDeleted ? 'DELETED' : 'ACTIVE';
      return Principal.fromPartial({
        ...{ name, owner: known.owner, tenant: 'tenants/main', type: 'MANAGED_IDENTITY', state: lifeState },
      });
    }),
    deletePrincipal: call('deletePrincipal', ({ name = '' }) => {
      const known = state.principals.get(name);
      if (!known) throw new Rejection('NOT_FOUND', 'PRINCIPAL_NOT_FOUND', name);
      known.isDeleted = true;
      return Principal.fromPartial({ name });
    }),
  };
};
