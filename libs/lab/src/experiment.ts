import type { Expression } from './expression.ts';
import type { ActionName } from './timeline/actions.ts';

export type { ActionName, CallableKeyAction, KeyAction, MachineAction } from './timeline/actions.ts';
export type { FaultAction } from './timeline/faults.ts';

/** Classes of disks, as experiment files and the command line name them. */
export type DiskClass = 'premium-ssd' | 'premium-ssd-v2' | 'standard-ssd' | 'standard-hdd' | 'ultra';

/** A disk of each machine of a group. `key`: name of a key of the estate, or `platform`. */
export interface PlannedDisk {
  readonly class: DiskClass;
  readonly key: string;
}

/** Machines with equal disks. The first disk is the OS disk. */
export interface PlannedGroup {
  readonly name: string;
  readonly machines: number;
  readonly disks: readonly PlannedDisk[];
  /** The key of disks without their own; empty if all are under the platform's key. */
  readonly key: string;
  /** Line in the file; absent for existing machines. */
  readonly line?: number;
  /** What runs as the machines: a Linux in QEMU; absent: a process. */
  readonly guest?: 'qemu';
  /** What becomes of its machines when their VM host is lost: they start at another one; absent: they stay off. */
  readonly onHostLoss?: 'restart';
}

/** Machines of an experiment: created for it, or those of an existing resource group. */
export type Estate =
  | {
      readonly kind: 'planned';
      readonly groups: readonly PlannedGroup[];
      /** Disk hosts as processes of their own; absent: the process of disk has all volumes. */
      readonly diskHosts?: number;
      /** VM hosts as processes of their own; absent: compute runs the guests. */
      readonly vmHosts?: number;
    }
  | { readonly kind: 'existing'; readonly resourceGroup: string; readonly line: number };

/** Machines of a resource group, as an experiment names them. */
export interface ExistingMachines {
  /** Each machine is a group with its own name. */
  readonly groups: readonly PlannedGroup[];
  /** Names of running machines whose guests do no I/O. */
  readonly idle: ReadonlySet<string>;
}

/** Targets of faults. */
export const cloudParts = [
  'key-vault',
  'identity',
  'disk-encryption-set',
  'disk',
  'compute',
  'nats',
  'postgres',
] as const;
export type CloudPart = (typeof cloudParts)[number];

/** Whether it is a part of the cloud. */
export const isCloudPart = (name: string): name is CloudPart => cloudParts.some((part) => part === name);

/** A disk host beside others as a target of faults: `disk-host-0`, or `disk-host-of-premium` for the one with the disks of a group. */
export type DiskHostTarget = `disk-host-${string}`;

/** A VM host as a target of faults: `vm-host-0`, or `vm-host-of-premium` for the one where the guests of a group run. */
export type VmHostTarget = `vm-host-${string}`;

/** A host as a target of faults. */
export type HostTarget = DiskHostTarget | VmHostTarget;

/** The disk host that has the disks of a group. Files may write it `{disk-host-of: premium}`. */
export const diskHostOf = (group: string): DiskHostTarget => `disk-host-of-${group}`;

/** The VM host where the guests of a group run. Files may write it `{vm-host-of: premium}`. */
export const vmHostOf = (group: string): VmHostTarget => `vm-host-of-${group}`;

/** Whether it has the form of a disk host as a target. */
export const isDiskHostTarget = (name: string): name is DiskHostTarget => name.startsWith('disk-host-');

/** Whether it has the form of a VM host as a target. */
export const isVmHostTarget = (name: string): name is VmHostTarget => name.startsWith('vm-host-');

/** Whether it has the form of a host as a target. */
export const isHostTarget = (name: string): name is HostTarget => isDiskHostTarget(name) || isVmHostTarget(name);

/** The number or the group that such a target names; undefined for any other name. */
export const hostNamed = (target: string): { readonly host: number } | { readonly group: string } | undefined => {
  const [, host] = /^(?:disk|vm)-host-(0|[1-9]\d*)$/.exec(target) ?? [];
  if (host !== undefined) return { host: Number(host) };
  const [, group] = /^(?:disk|vm)-host-of-(.+)$/.exec(target) ?? [];
  return group === undefined ? undefined : { group };
};

/** What a fault of the cloud affects: a part, or one host. */
export type FaultTarget = CloudPart | HostTarget;

/** Whether a fault of the cloud may name it. */
export const isFaultTarget = (name: string): name is FaultTarget => isCloudPart(name) || isHostTarget(name);

/** One entry of the timeline. Times in milliseconds after the start of the timeline. */
export interface Step {
  /** Unique: `as`, or the action with its target. Expressions and `give-back` use it. */
  readonly name: string;
  readonly atMs: number;
  readonly action: ActionName;
  /** A group of the estate, parts of the cloud or hosts (two for `cut`), or the name of the step that `give-back` undoes. */
  readonly targets: readonly string[];
  /** Time after which the step is undone; undefined: never, or by a `give-back`. */
  readonly forMs?: number;
  /** Further arguments: `permission`, `operation`, `by` of `slow` and `shift-clock`, `clock` of `shift-clock`, `start` of `give-back`, `to` of `assign-key` (a key) and of `move-disk` (a disk host). */
  readonly options: Readonly<Record<string, string | number | boolean>>;
  readonly line: number;
}

/** What must hold before the timeline starts. `gapMs`: longest time between two good operations. */
export type SteadyCheck = { readonly line: number } & (
  | { readonly kind: 'services-ready' }
  | { readonly kind: 'leases-held' }
  | { readonly kind: 'io'; readonly group: string; readonly gapMs: number }
);

/** A proof that a fault took effect; without it the run proves nothing (`vacuous`). */
export interface Proof {
  readonly line: number;
  /** Name of the step. */
  readonly of: string;
  readonly see: 'unwrap-refused' | 'io-refused' | 'machine-stopped' | 'start-refused' | 'process-gone' | 'calls-fail';
  readonly withinMs: number;
}

/** A condition that must hold at the end, or that ends the run when it occurs (`abort`). `text` as in the file. */
export interface Condition {
  readonly line: number;
  readonly text: string;
  readonly expression: Expression;
}

/** From the first to the last value, both included, in milliseconds. */
export interface SearchRange {
  readonly fromMs: number;
  readonly toMs: number;
}

/** An action that a search may use. An absent field: every value that the search has by itself. */
export interface SearchAction {
  readonly action: ActionName;
  /** Groups, keys or parts of the cloud; of `cut` the parts of which it takes two. */
  readonly targets?: readonly string[];
  readonly at?: SearchRange;
  readonly for?: SearchRange;
  readonly by?: SearchRange;
}

/** What `experiment search` may vary. */
export interface Search {
  /** Most actions of a timeline; a give-back is part of its action. */
  readonly steps: number;
  /** Latest moment of an action, in milliseconds after the start of the timeline. */
  readonly withinMs: number;
  /** Absent: every action that fits the estate and the target. */
  readonly actions?: readonly SearchAction[];
}

/** A validated experiment file. */
export interface Experiment {
  readonly title: string;
  /** The hypothesis in words, for reports. */
  readonly description?: string;
  readonly seed: number;
  /** Settings of the services: name of the environment variable to its value, for example `LEASE_TTL_MS` to `2000`. */
  readonly settings: Readonly<Record<string, string>>;
  /** Lines of the settings, by the same names; absent for a setting that is not in the file. */
  readonly settingLines: Readonly<Record<string, number>>;
  readonly estate: Estate;
  readonly steady: readonly SteadyCheck[];
  /** By time; entries of the same time in the order of the file. */
  readonly timeline: readonly Step[];
  readonly proof: readonly Proof[];
  readonly abort: readonly Condition[];
  readonly expect: readonly Condition[];
  /** Absent if the file has no such section. */
  readonly search?: Search;
}

/** A problem of a file. `cure`: what to write instead. */
export interface Problem {
  readonly line: number;
  /** From 1, where it is known. */
  readonly column?: number;
  readonly message: string;
  readonly cure: string;
}
