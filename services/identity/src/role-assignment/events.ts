import type { Instant } from '@interlock/runtime';

/** The events of one role assignment. Names and shapes are stored: add, never rename or reuse. */
export type RoleAssignmentEvent =
  | {
      readonly type: 'RoleAssigned';
      /** `principals/<id>` */
      readonly principal: string;
      /** `roles/<name>` */
      readonly role: string;
      /** `/`, or segments such as `subscriptions/s/resourceGroups/g/vaults/v`. */
      readonly scope: string;
      readonly at: Instant;
    }
  | {
      readonly type: 'RoleRemoved';
      /** Repeated, so that the fact is complete. */
      readonly principal: string;
      readonly role: string;
      readonly scope: string;
      readonly at: Instant;
    };
