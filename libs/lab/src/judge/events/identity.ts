/** What the judge reads of the events of a principal. The stream names it: `principal-<id>`. */
export type ReadPrincipalEvent = { readonly type: 'PrincipalCreated' } | { readonly type: 'PrincipalDeleted' };

/** What the judge reads of the events of a role assignment. */
export type ReadRoleAssignmentEvent =
  | {
      readonly type: 'RoleAssigned';
      /** `principals/<id>` */
      readonly principal: string;
      /** `roles/<name>` */
      readonly role: string;
      /** `/`, or segments such as `subscriptions/s/resourceGroups/g/vaults/v`. */
      readonly scope: string;
    }
  | { readonly type: 'RoleRemoved' };
