import type { LossReason } from '@interlock/access';
import type { DiskSku } from '@interlock/contracts/interlock/access/v1/access.ts';
import type { KeyForEncryption } from '@interlock/contracts/interlock/key_vault/v1/disk_access.ts';
import { RpcFailure } from '@interlock/rpc';

/** A key version of the fake vault; `lost` says why the identity of the set cannot use it. */
export interface FakeKey {
  readonly resolved: KeyForEncryption;
  lost: LossReason | undefined;
}

/** A disk or snapshot of the fake disk service. */
export interface FakeDisk {
  readonly set: string;
  keyVersion: string;
  generation: number;
  readonly sku?: DiskSku;
  readonly managedBy?: string;
  readonly openByMachine?: boolean;
  /** Refuses to be moved for another reason than a key. */
  damaged?: boolean;
}

/** When an injected outage hits a call: before it had its effect, or after it, so that only the response is lost. */
export type Moment = 'before' | 'after';

/** State of the fakes, which tests read and change, and the calls made to them. */
export class FakeState {
  readonly keys = new Map<string, FakeKey>();
  readonly stock = new Map<string, FakeDisk>();
  /** Machines by name, with the disks of each: all of them run. */
  readonly fleet = new Map<string, readonly string[]>();
  /** Every identity ever made, by name. */
  readonly principals = new Map<string, { readonly owner: string; isDeleted: boolean }>();
  /** Authorizations by owners: `<source> <target>`. */
  readonly authorizations: string[] = [];
  /** By set, the generation that its disks accept. */
  readonly generations = new Map<string, number>();
  /** Names of the methods called, in order. */
  readonly calls: string[] = [];
  /** Position in key-vault's feed. */
  epoch = 1;
  /** Makes the calls chosen by number (from 0, over all methods) fail as an outage does. */
  outage: ((call: number, method: string) => Moment | undefined) | undefined;
}

/** Makes a method of a fake: it counts the call, fails in an outage, and lets other work run in between as a network would. */
export const methodsOf =
  (state: FakeState) =>
  <Request, Answer>(method: string, handle: (request: Request, options?: { token?: string }) => Answer) =>
  async (request: Request, options?: { token?: string }): Promise<Answer> => {
    const number = state.calls.push(method) - 1;
    const moment = state.outage?.(number, method);
    await Promise.resolve();
    if (moment === 'before') throw new RpcFailure('UNAVAILABLE', method, 'fake', 'down');
    const answer = handle(request, options);
    if (moment === 'after') throw new RpcFailure('DEADLINE_EXCEEDED', method, 'fake', 'the answer is lost');
    return answer;
  };
