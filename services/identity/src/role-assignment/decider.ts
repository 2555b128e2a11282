import { type CategoryDefinition, Rejection } from '@interlock/event-store';
import type { Instant } from '@interlock/runtime';
import type { RoleAssignmentEvent } from './events.ts';

/** Principal, role and scope of an assignment. */
export interface Grant {
  readonly principal: string;
  readonly role: string;
  readonly scope: string;
}

/**
 * One role given to one principal on one scope.
 *
 *   absent ──assign──▶ assigned ──remove──▶ removed
 */
export type RoleAssignment =
  | { readonly status: 'absent' }
  | ({ readonly status: 'assigned'; readonly assignedAt: Instant } & Grant)
  | ({ readonly status: 'removed'; readonly removedAt: Instant } & Grant);

export const initial: RoleAssignment = { status: 'absent' };

export const evolve = (assignment: RoleAssignment, event: RoleAssignmentEvent): RoleAssignment => {
  switch (event.type) {
    case 'RoleAssigned': {
      const { type: _type, at, ...grant } = event;
      return { status: 'assigned', ...grant, assignedAt: at };
    }
    case 'RoleRemoved': {
      if (assignment.status !== 'assigned') return assignment;
      const { principal, role, scope } = assignment;
      return { status: 'removed', principal, role, scope, removedAt: event.at };
    }
  }
};

/** How assignments are stored and listed: by principal, and by scope. */
export const roleAssignments: CategoryDefinition<RoleAssignment, RoleAssignmentEvent> = {
  name: 'role_assignment',
  readable: ['principal', 'role', 'scope', 'at'],
  stateVersion: 1,
  initial,
  evolve,
  indexes: (assignment) =>
    assignment.status === 'assigned'
      ? [
          { index: 'principal', value: assignment.principal },
          { index: 'scope', value: assignment.scope },
        ]
      : [],
};

/**
 * Assigns a role under the id its creator chose; a repeat has no effect.
 * @throws Rejection ALREADY_EXISTS ROLE_ASSIGNMENT_UPDATE_NOT_PERMITTED if the id has another grant or was removed
 */
export const assign =
  (at: Instant, grant: Grant) =>
  (assignment: RoleAssignment): readonly RoleAssignmentEvent[] => {
    if (assignment.status === 'absent') return [{ type: 'RoleAssigned', ...grant, at }];
    const same =
      assignment.status === 'assigned' &&
      assignment.principal === grant.principal &&
      assignment.role === grant.role &&
      assignment.scope === grant.scope;
    if (same) return [];
    throw new Rejection(
      'ALREADY_EXISTS',
      'ROLE_ASSIGNMENT_UPDATE_NOT_PERMITTED',
      'principal, role and scope of an assignment cannot be changed: create another under a new id',
      { field: 'role_assignment_id' },
    );
  };

/** Removes the role. @throws Rejection NOT_FOUND ROLE_ASSIGNMENT_NOT_FOUND */
export const remove =
  (at: Instant) =>
  (assignment: RoleAssignment): readonly RoleAssignmentEvent[] => {
    if (assignment.status === 'absent')
      throw new Rejection('NOT_FOUND', 'ROLE_ASSIGNMENT_NOT_FOUND', 'no such role assignment');
    if (assignment.status === 'removed') return [];
    const { principal, role, scope } = assignment;
    return [{ type: 'RoleRemoved', principal, role, scope, at }];
  };
