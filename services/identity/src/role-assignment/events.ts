import type { Instant } from '@interlock/runtime';

/** The facts of one role assignment. These names and shapes are on disk: add; never rename, never reuse. */
export type RoleAssignmentEvent =
  | {
      readonly type: 'RoleAssigned';
      /** `principals/<id>` */
      readonly principal: string;
      /** `roles/<name>` */
      readonly role: string;
      /** Path of what the role is given on: `/`, or segments such as `subscriptions/s/resourceGroups/g/vaults/v`. */
      readonly scope: string;
      readonly at: Instant;
    }
  | {
      readonly type: 'RoleRemoved';
      /** What was taken away, so that the fact can be told by itself. */
      readonly principal: string;
      readonly role: string;
      readonly scope: string;
      readonly at: Instant;
    };
