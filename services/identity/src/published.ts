import { IdentityEvent } from '@interlock/contracts/interlock/identity/v1/identity_events.ts';
import { eventReader } from '@interlock/event-store';
import { type PublishedFact, type ToFact, unknownEvent } from '@interlock/messaging';
import { principals } from './principal/decider.ts';
import type { PrincipalEvent } from './principal/events.ts';
import { principalTypeOnWire } from './principal/wire.ts';
import { roleAssignments } from './role-assignment/decider.ts';
import type { RoleAssignmentEvent } from './role-assignment/events.ts';
import { roleNamed } from './role-assignment/roles.ts';

const principalEvent = eventReader(principals);
const roleAssignmentEvent = eventReader(roleAssignments);

/** Facts about principals and roles. Secrets and keys are not published. */
export const toFact: ToFact = (recorded) => {
  const ofPrincipal = principalEvent(recorded);
  if (ofPrincipal) return principalFact(`principals/${ofPrincipal.id}`, ofPrincipal.event);
  const ofRole = roleAssignmentEvent(recorded);
  return ofRole ? roleFact(`roleAssignments/${ofRole.id}`, ofRole.event) : null;
};

const factOf = (type: string, event: IdentityEvent['event']): PublishedFact => ({
  type,
  payload: IdentityEvent.encode({ event }).finish(),
});

const principalFact = (principal: string, event: PrincipalEvent): PublishedFact | null => {
  switch (event.type) {
    case 'PrincipalCreated': {
      const { tenant, principalType, owner = '' } = event;
      return factOf(event.type, {
        $case: 'principalCreated',
        value: { principal, tenant, type: principalTypeOnWire[principalType], owner },
      });
    }
    case 'PrincipalDeleted': {
      const { tenant, principalType, owner = '' } = event;
      const type = principalTypeOnWire[principalType];
      return factOf(event.type, {
        $case: 'principalDeleted',
        value: { principal, tenant, type, owner, deleteTime: new Date(event.at) },
      });
    }
    case 'SecretAdded':
    case 'SecretRemoved':
      return null;
    default:
      throw unknownEvent(event);
  }
};

const roleFact = (roleAssignment: string, event: RoleAssignmentEvent): PublishedFact => {
  switch (event.type) {
    case 'RoleAssigned': {
      const { principal, role, scope } = event;
      const dataActions = [...(roleNamed(role)?.dataActions ?? [])];
      return factOf(event.type, {
        $case: 'roleAssigned',
        value: { roleAssignment, principal, role, scope, dataActions },
      });
    }
    case 'RoleRemoved': {
      const { principal, role, scope } = event;
      return factOf(event.type, { $case: 'roleRemoved', value: { roleAssignment, principal, role, scope } });
    }
    default:
      throw unknownEvent(event);
  }
};
