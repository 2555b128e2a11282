import { type LossReason, lossReasonIn } from '@interlock/access';
import type {
  EncryptedResource,
  ListEncryptedResourcesResponse,
} from '@interlock/contracts/interlock/disk/v1/key_change.ts';
import { type Cause, followed, Rejection, readEvent } from '@interlock/event-store';
import { itemError, type RpcFailure } from '@interlock/rpc';
import { finishRotation, isMoving, progressRotation, waitForKey } from '../set/key-change.ts';
import { callFor, forProcess, type SetParts } from '../sets.ts';
import { isOutage } from '../upkeep/outages.ts';

/** Settings of a rotation. */
export interface RotationSettings {
  /** Disks and snapshots of one set in work at once. */
  readonly concurrency: number;
  /** Disks and snapshots of a page, and the most between two progress events. */
  readonly pageSize: number;
}

/** Batches of one set in flight: while the vault works on one, the disk host writes the headers of the other. */
const batchesInFlight = 2;
/** Refusals of what is on a disk host that does not respond, or that an operator declared lost. */
const hostReasons: ReadonlySet<string> = new Set(['DISK_HOST_UNREACHABLE', 'DISK_HOST_LOST']);
/** Most disk hosts that a rotation names. */
const hostsMax = 16;
/** Largest batch of the disk service. */
const batchMax = 256;

type Page = ListEncryptedResourcesResponse;

type Parts = Pick<SetParts, 'clock' | 'sets' | 'disks'> & {
  readonly settings: RotationSettings;
  /** Ends the run between two batches; the next run continues. */
  readonly signal: AbortSignal;
};

/** Why a disk or snapshot cannot move. */
interface Obstacle {
  readonly reason: LossReason | 'UNKNOWN';
  readonly keyVersion: string;
  /** Code of the refusal if the reason is `UNKNOWN`. */
  readonly code?: string;
}

/** One pass over everything under an older generation. */
interface Pass {
  moved: number;
  /** By source version or resource: what is under it is not tried again in this pass. */
  readonly obstacles: Map<string, Obstacle>;
  /** Names of disk hosts that did not respond or are lost: what they have is not tried again in this pass. */
  readonly hosts: Map<string, Obstacle>;
  /** A failure that decides nothing: the pass must be repeated. */
  unclear: unknown;
  /** A newer generation is in force. */
  isOvertaken: boolean;
}

/**
 * Moves every disk and snapshot of a set to its active key while machines run (CMK-80, CMK-83, CMK-88).
 *
 *   barrier ─▶ list what is below ─▶ rewrap each ─▶ list again ─▶ empty: finished
 *                    ▲                                  │
 *                    └──────────── some moved ──────────┤
 *                                                       └── all refused: waiting, with the reason and the version
 *
 * Only an empty list after the barrier finishes a rotation, never a count. Memory holds nothing that matters: after a crash at
 * any step, and in parallel with another replica, the next run starts at the barrier.
 * @throws RpcFailure or a retryable Rejection if a service does not respond: the rotation is resumed later
 */
export const rotate = async (parts: Parts, set: string, cause: Cause): Promise<void> => {
  const { clock, sets, disks } = parts;
  const { state } = await sets.load(set);
  const generation = state.status === 'active' ? state.generation : 0;
  if (!isMoving(state, generation)) return;
  const { keyVersion } = state.activeKey;
  const { principal } = state;
  if (principal === '') {
    const obstacle: Obstacle = { reason: 'IDENTITY_DELETED', keyVersion };
    await sets.transact(set, waitForKey(clock.now(), generation, obstacle), cause, { step: 'rotation' });
    return;
  }
  const call = callFor(forProcess(cause, set, state, 'generation'));
  const barrier = await disks.beginGeneration({ diskEncryptionSet: set, generation, keyVersion, principal }, call);
  if (barrier.generation > generation) return;
  const known = state.rotation.resourcesCount;
  await moveAll({ ...parts, set, generation, keyVersion, cause: followed(cause), call, known });
};

/** A rotation whose barrier is set. */
interface Move extends Parts {
  readonly set: string;
  readonly generation: number;
  /** The target. */
  readonly keyVersion: string;
  /** Of the events: they continue the rotation, and the moves answer it. */
  readonly cause: Cause;
  /** Of the calls: the change of the key leads to them. */
  readonly call: ReturnType<typeof callFor>;
  /** Disks and snapshots at the start, as far as known. */
  readonly known: number;
}

/** Pass after pass, until nothing is left, everything left is refused, or the run must end. */
const moveAll = async (move: Move): Promise<void> => {
  const { clock, sets, set, generation, cause, settings, signal } = move;
  let { count: left, first } = await listLeft(move);
  const resourcesCount = Math.max(move.known, left);
  /** @returns whether this rotation is still the newest */
  const storeProgress = async (): Promise<boolean> => {
    const count = { resourcesCount, doneCount: Math.max(0, resourcesCount - left) };
    const after = await sets.transact(set, progressRotation(clock.now(), generation, count), cause, {
      step: 'rotation',
    });
    return isMoving(after.state, generation);
  };

  while (left > 0) {
    const pass: Pass = { moved: 0, obstacles: new Map(), hosts: new Map(), unclear: undefined, isOvertaken: false };
    const leftBefore = left;
    const mayContinue = async (): Promise<boolean> => {
      left = leftBefore - pass.moved;
      if (!(await storeProgress())) pass.isOvertaken = true;
      return !pass.isOvertaken && !signal.aborted;
    };
    const batches = batchesFrom(move, first, mayContinue);
    await forEachBounded(batches, Math.min(batchesInFlight, settings.concurrency), (resources) =>
      rewrapBatch(move, resources, pass),
    );
    if (pass.isOvertaken || signal.aborted) return;
    ({ count: left, first } = await listLeft(move));
    if (left === 0) break;
    await storeProgress();
    if (pass.moved > 0) {
      // Nothing new can be below a barrier, so what moved must be missing from the list.
      if (left >= leftBefore) throw new Error(`${set}: ${pass.moved} moved, but the list is not shorter`);
      continue;
    }
    if (pass.unclear !== undefined) throw pass.unclear;
    const wait = waitOf(pass);
    if (wait !== undefined) {
      await sets.transact(set, waitForKey(clock.now(), generation, wait), cause, { step: 'rotation' });
      return;
    }
  }
  await sets.transact(set, finishRotation(clock.now(), generation), cause, { step: 'rotation' });
};

/** What a rotation waits for: a key first, because its owner can act. Undefined if nothing is known. */
const waitOf = ({ obstacles, hosts }: Pass): (Obstacle & { readonly diskHosts?: readonly string[] }) | undefined => {
  const [first] = [...obstacles.values(), ...hosts.values()];
  if (first === undefined || hosts.size === 0) return first;
  return { ...first, diskHosts: [...hosts.keys()].toSorted().slice(0, hostsMax) };
};

const listPage = ({ disks, set, generation, settings, call }: Move, pageToken: string): Promise<Page> =>
  disks.listEncryptedResources(
    { diskEncryptionSet: set, belowGeneration: generation, pageSize: settings.pageSize, pageToken },
    call,
  );

/** Counts what is left. Keeps the first page: most sets have only one. */
const listLeft = async (move: Move): Promise<{ readonly count: number; readonly first: Page }> => {
  const first = await listPage(move, '');
  let count = first.resources.length;
  for (let { nextPageToken } = first; nextPageToken !== ''; ) {
    const page = await listPage(move, nextPageToken);
    count += page.resources.length;
    nextPageToken = page.nextPageToken;
  }
  return { count, first };
};

/** Runs `work` on every item of a source, at most `limit` at once. A failure ends the source. @throws the first error, after all have ended */
const forEachBounded = async <Item>(
  items: AsyncGenerator<Item>,
  limit: number,
  work: (item: Item) => Promise<void>,
): Promise<void> => {
  const worker = async (): Promise<void> => {
    for await (const item of items) await work(item);
  };
  const ended = await Promise.allSettled(Array.from({ length: limit }, worker));
  const failed = ended.find((one) => one.status === 'rejected');
  if (failed) throw failed.reason;
};

/** Lists page by page, each while the one before is in work. */
async function* batchesFrom(
  move: Move,
  first: Page,
  mayContinue: () => Promise<boolean>,
): AsyncGenerator<readonly EncryptedResource[]> {
  for (let page: Page | undefined = first; page !== undefined; ) {
    if (!(await mayContinue())) return;
    const next: Promise<Page> | undefined = page.nextPageToken === '' ? undefined : listPage(move, page.nextPageToken);
    // Awaited below, unless a batch fails before.
    next?.catch(() => undefined);
    yield* batchesOf(page.resources, move.settings.concurrency);
    page = await next;
  }
}

const batchesOf = (resources: readonly EncryptedResource[], concurrency: number): readonly EncryptedResource[][] => {
  const size = Math.min(batchMax, Math.ceil(concurrency / batchesInFlight));
  return Array.from({ length: Math.ceil(resources.length / size) }, (_, n) =>
    resources.slice(n * size, (n + 1) * size),
  );
};

/** Rewraps a batch, without what an obstacle blocks. */
const rewrapBatch = async (move: Move, listed: readonly EncryptedResource[], pass: Pass): Promise<void> => {
  const { disks, keyVersion: targetKeyVersion, generation, cause, call, signal } = move;
  if (signal.aborted || pass.isOvertaken) return;
  const resources = listed.filter(
    ({ keyVersion, diskHost }) => !pass.obstacles.has(keyVersion) && !pass.hosts.has(diskHost),
  );
  if (resources.length === 0) return;
  const names = resources.map(({ name }) => name);
  try {
    const { outcomes } = await disks.rewrapDeks({ names, targetKeyVersion, generation }, call);
    cause.tracker?.answered(outcomes.flatMap(({ event }) => (event === '' ? [] : [readEvent(event)])));
    for (const [n, resource] of resources.entries()) {
      const outcome = outcomes[n]?.outcome;
      if (outcome === undefined) throw new Error(`RewrapDeks returned no outcome for ${resource.name}`);
      if (outcome.$case === 'moved') pass.moved++;
      else note(pass, resource, itemError(outcome.value, { method: 'RewrapDeks', peer: 'disk' }), move);
    }
  } catch (error) {
    if (!isOutage(error)) throw error;
    pass.unclear ??= error;
  }
};

/** Notes why a resource did not move. */
const note = (pass: Pass, resource: EncryptedResource, error: Rejection | RpcFailure, move: Move): void => {
  // Before outages: the host may stay away, and it is named.
  if (error instanceof Rejection && hostReasons.has(error.reason)) noteHost(pass, resource, error);
  else if (!(error instanceof Rejection) || isOutage(error)) pass.unclear ??= error;
  // Deleted meanwhile: one less to move.
  else if (error.reason === 'DISK_NOT_FOUND' || error.reason === 'SNAPSHOT_NOT_FOUND') pass.moved++;
  else if (error.reason === 'GENERATION_OUTDATED') pass.isOvertaken = true;
  else noteObstacle(pass, resource, error, move);
};

/** Everything on a host that does not respond, or is lost, waits for it. */
const noteHost = (pass: Pass, { diskHost, keyVersion }: EncryptedResource, { reason, metadata }: Rejection): void => {
  pass.hosts.set(diskHost || (metadata.disk_host ?? ''), { reason: 'UNKNOWN', keyVersion, code: reason });
};

/**
 * A refusal of a key, or of its vault's protection, blocks everything under that version; any other blocks one resource. So does a
 * refusal of a version that this move does not involve: after an interrupted move a disk is ahead of what was listed of it.
 */
const noteObstacle = (pass: Pass, resource: EncryptedResource, error: Rejection, move: Move): void => {
  const reason = lossReasonIn(error);
  const keyVersion = error.metadata.key_version || resource.keyVersion;
  if (reason !== undefined) {
    const isOfAll = keyVersion === resource.keyVersion || keyVersion === move.keyVersion;
    pass.obstacles.set(isOfAll ? resource.keyVersion : resource.name, { reason, keyVersion });
    return;
  }
  const { reason: code } = error;
  const blocked = code === 'TARGET_WEAKER_PROTECTED' ? resource.keyVersion : resource.name;
  pass.obstacles.set(blocked, { reason: 'UNKNOWN', keyVersion, code });
};
