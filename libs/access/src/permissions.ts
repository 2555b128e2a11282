/** Permissions that the identity of a set needs on its key, all three, by key-vault's names (CMK-25). */
export const setPermissions = ['get', 'wrapKey', 'unwrapKey'] as const;

/** The same, as the contracts write them. */
export const setPermissionsOnWire = ['GET', 'WRAP_KEY', 'UNWRAP_KEY'] as const;

/** The same, as the command line writes them. */
export const setPermissionFlags = ['get', 'wrap-key', 'unwrap-key'] as const;
