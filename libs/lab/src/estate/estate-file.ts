import type { DiskClass } from '../experiment.ts';

/**
 * An estate as a file: vaults, keys, sets, disks and machines by name, without their resource group.
 * `estate.schema.json` describes the YAML.
 */
export interface EstateFile {
  /** Region of all resources without their own, for example `westeurope`. */
  readonly location: string;
  readonly vaults: readonly EstateVault[];
  readonly sets: readonly EstateSet[];
  readonly disks: readonly EstateDisk[];
  readonly machines: readonly EstateMachine[];
}

export interface EstateVault {
  readonly name: string;
  readonly location?: string;
  /** How the identities of sets may use its keys. Default: policies. */
  readonly permissions?: 'policies' | 'roles';
  readonly keys: readonly EstateKey[];
}

export interface EstateKey {
  readonly name: string;
  /** Default 2048. */
  readonly bits?: 2048 | 3072 | 4096;
  /** Its versions, oldest first. Default: one that is enabled. */
  readonly versions?: readonly ('enabled' | 'disabled')[];
}

export interface EstateSet {
  readonly name: string;
  readonly location?: string;
  /** `vault/key`. */
  readonly key: string;
  /** Version of the key, counted from 1, the oldest. Default: the newest. */
  readonly version?: number;
  /** Default: customer-key. */
  readonly encryption?: 'customer-key' | 'platform-and-customer-keys';
  readonly autoKeyRotation?: boolean;
  readonly autoRestart?: boolean;
  /** `next-start`: an expired key stops no running machine. */
  readonly keyExpiry?: 'next-start';
}

export interface EstateDisk {
  readonly name: string;
  readonly location?: string;
  readonly class: DiskClass;
  readonly gib: number;
  /** Its disk encryption set. Default: a key of the platform. */
  readonly set?: string;
}

export interface EstateMachine {
  readonly name: string;
  readonly location?: string;
  /** Name of the disk that it boots from. */
  readonly osDisk: string;
  readonly dataDisks?: readonly { readonly lun: number; readonly disk: string }[];
  /** What runs as the machine. Default: process. */
  readonly guest?: 'process' | 'qemu' | 'idle';
  /** Default true. */
  readonly running?: boolean;
}

/** Names of the disks of a machine, the OS disk first. */
export const disksOfMachine = ({ osDisk, dataDisks = [] }: EstateMachine): readonly string[] => [
  osDisk,
  ...dataDisks.map(({ disk }) => disk),
];
