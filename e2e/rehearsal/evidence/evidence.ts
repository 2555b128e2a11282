import type { AuditEntry } from '@interlock/contracts/interlock/key_vault/v1/audit.ts';
import type { KeyVersion } from '@interlock/contracts/interlock/key_vault/v1/key_version.ts';
import type { AccessPolicy_KeyPermission, Vault } from '@interlock/contracts/interlock/key_vault/v1/vault.ts';
import type { StartRecord, Verdict } from '@interlock/lab';
import type { IoSummary } from '@interlock/lab/judge/journal/journal';
import type { Search } from '../../canary/places.ts';
import type { Attempt } from '../attempt.ts';

/**
 * What the steps observed, each in its own slice: read back through the API, from the guests' journals, from the bytes of the
 * files, from the vault's audit log, and the verdicts of the lab's judge. Rules are judged by this only. It is plain data, so that a test can break any of it. Machines
 * are named by their last segment, all else by full name; times are milliseconds since the epoch.
 */
export interface Evidence {
  readonly people: PeopleSeen;
  readonly vault: VaultSeen;
  readonly keys: KeysSeen;
  readonly sets: readonly SetSeen[];
  readonly grants: GrantsSeen;
  readonly disks: readonly DiskSeen[];
  readonly move: MoveSeen;
  readonly machines: readonly MachineSeen[];
  readonly setInUse: SetInUseSeen;
  readonly rotation: RotationSeen;
  readonly oldVersionDisabled: QuietSeen;
  /** The judge's verdict on the-key-is-lost.experiment.yaml, and on every-way.experiment.yaml. */
  readonly keyLost: Verdict;
  readonly everyWay: Verdict;
  /** Starts of the group `ultra` in the latter, in their order. */
  readonly ultraStarts: readonly Pick<StartRecord, 'outcome' | 'reason'>[];
  readonly impact: ImpactSeen;
  readonly deleted: readonly MachineAfterLoss[];
  readonly refusedWhileDeleted: RefusedSeen;
  readonly ultraWhileDeleted: ColdStartSeen;
  readonly assigned: ReturnSeen;
  readonly content: ContentSeen;
  readonly files: FilesSeen;
  readonly audit: readonly AuditSeen[];
}

/** The evidence that was collected so far. */
export type Gathered = { -readonly [Slice in keyof Evidence]?: Evidence[Slice] };

/** Principals, as `principals/<uuid>`. */
export interface PeopleSeen {
  readonly administrator: string;
  readonly vaultAdministrator: string;
  readonly vmUser: string;
  /** The refusals that the VM user got at the vault. */
  readonly vmUserAtVault: readonly Attempt[];
}

export type VaultSeen = Pick<Vault, 'name' | 'state' | 'purgeProtectionEnabled' | 'softDeleteRetentionDays'>;

export type KeySeen = Pick<KeyVersion, 'name' | 'keyUrl' | 'origin' | 'keySizeBits'>;

export interface KeysSeen {
  readonly generated: KeySeen;
  readonly imported: KeySeen;
  /** Whether the public key in the vault belongs to the imported private key. */
  readonly isOwnMaterial: boolean;
  /** Attempts to import keys that are not RSA keys of 2048, 3072 or 4096 bits. */
  readonly refused: readonly Attempt[];
}

export interface SetSeen {
  readonly name: string;
  readonly provisioningState: string;
  readonly wantedKeyUrl: string;
  readonly keyUrl: string;
  readonly sourceVault: string;
  readonly principal: string;
  readonly identity: { readonly type: string; readonly owner: string; readonly state: string };
  /** Whether the vault granted the identity anything when the set was created. */
  readonly isGrantedAtCreation: boolean;
}

export interface GrantsSeen {
  /** The first disk under the set, before any grant. */
  readonly firstDisk: Attempt;
  /** What is left of it: the outcome of reading it. */
  readonly afterwards: Attempt;
  /** Its further attempts, each with one permission missing. */
  readonly incomplete: readonly { readonly granted: readonly AccessPolicy_KeyPermission[]; readonly disk: Attempt }[];
  /** With all three. */
  readonly complete: Attempt;
}

export interface DiskSeen {
  readonly name: string;
  /** UUID. */
  readonly id: string;
  readonly sku: string;
  /** Full name, or empty under the platform's key. */
  readonly set: string;
  readonly keyVersion: string;
}

/** The disk that existed before and was moved under the set. */
export interface MoveSeen {
  readonly disk: string;
  readonly before: { readonly type: string; readonly set: string; readonly keyVersion: string };
  readonly after: { readonly type: string; readonly set: string; readonly keyVersion: string };
  readonly isContentSame: boolean;
}

export interface MachineSeen {
  readonly name: string;
  readonly onLoss: 'stops' | 'keeps running' | 'untouched';
  readonly power: string;
  readonly startTime: number;
  readonly disks: readonly {
    readonly name: string;
    readonly sku: string;
    readonly set: string;
    readonly isOs: boolean;
  }[];
  /** From its start until all machines had done real work. */
  readonly io: IoSummary;
}

export interface SetInUseSeen {
  readonly deletion: Attempt;
  readonly stateAfterwards: string;
  /** Names the refusal gave. */
  readonly users: readonly string[];
}

/** The same disk before and after the key change, from its files. */
export interface RewrapSeen {
  readonly disk: string;
  readonly keyVersionBefore: string;
  readonly keyVersionAfter: string;
  readonly isWrapChanged: boolean;
  /** Whether a range without writes has the very same ciphertext. */
  readonly isDataUntouched: boolean;
}

export interface RotationSeen {
  readonly from: string;
  readonly to: string;
  readonly startedAt: number;
  readonly endedAt: number;
  /** Old versions the set listed while it moved, and at the end. */
  readonly previousKeysMeanwhile: readonly string[];
  readonly previousKeysAfter: readonly string[];
  /** Whether both versions were enabled at its start and end. */
  readonly wereBothEnabled: boolean;
  readonly resources: readonly { readonly name: string; readonly keyVersion: string; readonly generation: number }[];
  readonly generation: number;
  readonly rewraps: readonly RewrapSeen[];
  readonly machines: QuietSeen;
}

/** Machines that must not be affected, during something and after it. */
export interface QuietSeen {
  readonly machines: readonly {
    readonly name: string;
    readonly power: string;
    readonly startTimeBefore: number;
    readonly startTimeAfter: number;
    readonly io: IoSummary;
  }[];
}

/** What was predicted for deleting the key. Machines by their last segment. */
export interface ImpactSeen {
  readonly stops: readonly string[];
  readonly failsAtNextStart: readonly string[];
}

/** A machine after its key was deleted. */
export interface MachineAfterLoss {
  readonly name: string;
  readonly onLoss: MachineSeen['onLoss'];
  readonly power: string;
  /** Reason the platform gave for stopping it; empty when it did not. */
  readonly reason: string;
}

/** How a start ended. */
export interface StartSeen {
  readonly machine: string;
  readonly outcome: 'running' | 'failed';
  readonly power: string;
  /** Reason it failed for; empty when it runs. */
  readonly code: string;
  readonly message: string;
}

export interface RefusedSeen {
  readonly attempts: readonly Attempt[];
  /** The outcome of reading what must not exist. */
  readonly leftovers: readonly Attempt[];
  /** Of the machine a disk should have been attached to. */
  readonly hostPower: string;
  readonly hostDataDisks: number;
  readonly spareState: string;
}

/** An ultra machine that was deallocated and started under a lost key. */
export interface ColdStartSeen {
  readonly machine: string;
  readonly start: StartSeen;
  /** Whether the failure names its ultra disk. */
  readonly namesDisk: boolean;
}

export interface ReturnSeen {
  readonly starts: readonly StartSeen[];
  /** Work done after the start, per machine. */
  readonly io: readonly IoSummary[];
  /** Reads of what earlier runs wrote, and how many of them did not find it. */
  readonly verified: number;
  readonly mismatched: number;
}

export interface ContentSeen {
  /** Disks whose content was compared: those of `perDisk` and of `throughApi`. */
  readonly disks: number;
  readonly bytesCompared: number;
  /** Sectors or marks that differed from what was acknowledged. */
  readonly mismatches: number;
  /** Acknowledged records of the guests that were checked. */
  readonly records: number;
  /** Disks whose mark from the start was read back through the API. */
  readonly marksRead: number;
  readonly perDisk: readonly DiskProof[];
  /** Full names of disks whose files no locally kept key opens: only their mark was read back through the API. */
  readonly throughApi: readonly string[];
}

/** Every acknowledged byte of a disk, compared with its file. */
export interface DiskProof {
  /** Full name. */
  readonly disk: string;
  readonly bytes: number;
  /** SHA-256, in hexadecimal, of what was acknowledged, in the order of the disk. */
  readonly acknowledged: string;
  /** The same for what was found. */
  readonly found: string;
}

export interface FileSeen {
  readonly disk: string;
  readonly cipher: string;
  readonly keyVersion: string;
  readonly algorithm: string;
  readonly wrappedBytes: number;
  readonly allocatedBytes: number;
  /** Whether the owner can read the content with only the private key and the file. */
  readonly isReadableByOwner: boolean;
  /** Whether a key opens what another one wrapped: tried on the header from before the rotation. */
  readonly isReadableByOther: boolean;
  /** Whether the ciphertext from before the rotation decrypts with the data key of the end: the data key never changed. */
  readonly isSameDek: boolean;
  /** Places of the file with content in plain text. */
  readonly plaintextPlaces: number;
  readonly searchedPlaces: number;
}

export interface FilesSeen {
  readonly disks: readonly FileSeen[];
  /** Different data keys among them. */
  readonly distinctDeks: number;
  /** Of every data key in every file of the cloud. */
  readonly dekSearch: Search;
}

/** A row of the vault's record, without its times. */
export type AuditSeen = Omit<AuditEntry, 'time' | 'lastTime'>;
