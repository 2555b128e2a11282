import type { LossReason } from '@interlock/access';

/** The key version of a set: `vaults/<v>/keys/<k>/versions/<version>`. */
interface KeyReference {
  readonly keyVersion: string;
}

/** Effect of the key's expiry: stops machines, or fails only what needs the key again (CMK-104). */
type KeyExpiry = 'stop' | 'next_start';

/** What the judge reads of the events of a set. The stream names it: `set-<name>`. */
export type ReadSetEvent =
  | {
      readonly type: 'SetCreating';
      /** `principals/<uuid>`: its identity. */
      readonly principal: string;
      readonly key: KeyReference;
      readonly requestedOptions: { readonly keyExpiry: KeyExpiry };
    }
  | { readonly type: 'KeyAssigned'; readonly key: KeyReference }
  | { readonly type: 'IdentityReplaced'; readonly principal: string }
  | { readonly type: 'SetOptionsChanged'; readonly keyExpiry: KeyExpiry }
  /** `reason`: a `LossReason`. */
  | { readonly type: 'KeyAccessLost' | 'KeyAccessBarred'; readonly keyVersion: string; readonly reason: LossReason }
  | { readonly type: 'SetCreated' | 'IdentityRemoved' | 'RotationFinished' | 'SetDeleted' | 'SetCreationAbandoned' };
