/** Permissions that the identity of a set needs on its key, all three, by key-vault's names (CMK-25). */
export const setPermissions = ['get', 'wrapKey', 'unwrapKey'] as const;

/** The same, as the contracts write them. */
export const setPermissionsOnWire = ['GET', 'WRAP_KEY', 'UNWRAP_KEY'] as const;

/** The same, as the command line writes them. */
export const setPermissionFlags = ['get', 'wrap-key', 'unwrap-key'] as const;

/** Operations of a key version that a set needs, in addition to the permissions of its identity, by key-vault's names (KV-88). */
export const setOperations = ['wrapKey', 'unwrapKey'] as const;

/** The same, as the contracts write them. */
export const setOperationsOnWire = ['WRAP_KEY', 'UNWRAP_KEY'] as const;
