import type {
  EncryptedResource,
  ListEncryptedResourcesResponse,
} from '@interlock/contracts/interlock/disk/v1/key_change.ts';
import { type Cause, Rejection } from '@interlock/event-store';
import { itemError, type RpcFailure } from '@interlock/rpc';
import { definiteReason } from '../key/key-access.ts';
import { finishRotation, isMoving, progressRotation, waitForKey } from '../set/key-change.ts';
import type { LossReason } from '../set/reasons.ts';
import { callFor, type SetParts } from '../sets.ts';
import { forEachBounded } from '../upkeep/bounded.ts';
import { isOutage } from '../upkeep/outages.ts';

/** How a rotation goes about its work. */
export interface RotationSettings {
  /** Disks and snapshots of one set moved at once. */
  readonly concurrency: number;
  /** Disks and snapshots listed at once, and the most moved between two progress events. */
  readonly pageSize: number;
}

/** Batches of one set under way at once: while the vault works on one, the disk host writes the headers of the other. */
const batchesUnderWay = 2;
/** Most disks and snapshots of one batch, by the word of the disk service. */
const batchMax = 256;

type Page = ListEncryptedResourcesResponse;

/** What stands in the way of a disk or snapshot. */
interface Obstacle {
  readonly reason: LossReason | 'UNKNOWN';
  readonly keyVersion: string;
  /** Code of the refusal where the reason is `UNKNOWN`. */
  readonly code?: string;
}

/** One run over everything still under an older generation. */
interface Pass {
  moved: number;
  /** By source version: refused once, the others under it are not tried again in this pass. */
  readonly obstacles: Map<string, Obstacle>;
  /** An answer that decided nothing: the pass has to be repeated. */
  unclear: unknown;
  /** A newer generation is in force: this move is another's now. */
  isOvertaken: boolean;
}

/**
 * Moves every disk and snapshot of a set to its active key while machines run (CMK-80, CMK-83, CMK-88).
 *
 *   barrier ─▶ list what is below ─▶ rewrap each ─▶ list again ─▶ nothing left: finished
 *                    ▲                                  │
 *                    └────────── something moved ───────┤
 *                                                       └── all refused: waiting, with the reason and the version
 *
 * Only a listing after the barrier ends a move, never a count. It holds nothing in memory that matters: after a crash at
 * any step, and beside another replica, the next run begins with the barrier again and finds what is left.
 * @throws RpcFailure or a retryable Rejection where somebody does not answer: the move is taken up again later
 */
export const rotate = async (
  parts: Pick<SetParts, 'clock' | 'sets' | 'disks'> & {
    readonly settings: RotationSettings;
    /** Ends the run between two disks; what is left is taken up by the next one. */
    readonly signal: AbortSignal;
  },
  set: string,
  cause: Cause,
): Promise<void> => {
  const { clock, sets, disks, settings, signal } = parts;
  const { state } = await sets.load(set);
  const generation = state.status === 'active' ? state.generation : 0;
  if (!isMoving(state, generation)) return;
  const { keyVersion } = state.activeKey;
  const { principal } = state;

  if (principal === '') {
    await sets.transact(set, waitForKey(clock.now(), generation, { reason: 'IDENTITY_DELETED', keyVersion }), cause);
    return;
  }

  const call = callFor(cause);
  const barrier = await disks.beginGeneration({ diskEncryptionSet: set, generation, keyVersion, principal }, call);
  if (barrier.generation > generation) return;

  const listed = (pageToken: string) =>
    disks.listEncryptedResources(
      { diskEncryptionSet: set, belowGeneration: generation, pageSize: settings.pageSize, pageToken },
      call,
    );
  /** Counts what is left. The first page is kept: in most sets it is all there is. */
  const lookAtLeft = async (): Promise<{ readonly count: number; readonly first: Page }> => {
    const first = await listed('');
    let count = first.resources.length;
    for (let { nextPageToken } = first; nextPageToken !== ''; ) {
      const page = await listed(nextPageToken);
      count += page.resources.length;
      nextPageToken = page.nextPageToken;
    }
    return { count, first };
  };

  let { count: left, first } = await lookAtLeft();
  const resourcesCount = Math.max(state.rotation.resourcesCount, left);
  /** @returns whether this move is still the newest */
  const tell = async (): Promise<boolean> => {
    const count = { resourcesCount, doneCount: Math.max(0, resourcesCount - left) };
    const after = await sets.transact(set, progressRotation(clock.now(), generation, count), cause);
    return isMoving(after.state, generation);
  };

  while (left > 0) {
    const pass: Pass = { moved: 0, obstacles: new Map(), unclear: undefined, isOvertaken: false };
    const leftBefore = left;
    const mayGoOn = async (): Promise<boolean> => {
      left = leftBefore - pass.moved;
      if (!(await tell())) pass.isOvertaken = true;
      return !pass.isOvertaken && !signal.aborted;
    };
    const batchesLeft = batchesFrom(first, listed, mayGoOn, settings.concurrency);
    const move = { disks, keyVersion, generation, call, signal };
    await forEachBounded(batchesLeft, Math.min(batchesUnderWay, settings.concurrency), (resources) =>
      moveTogether(move, resources, pass),
    );
    if (pass.isOvertaken || signal.aborted) return;
    ({ count: left, first } = await lookAtLeft());
    if (left === 0) break;
    await tell();
    if (pass.moved > 0) {
      // Nothing comes below a barrier, so what moved must be missing from the list.
      if (left >= leftBefore) throw new Error(`${set}: ${pass.moved} moved, but as many as before are listed`);
      continue;
    }
    if (pass.unclear !== undefined) throw pass.unclear;
    const [obstacle] = pass.obstacles.values();
    if (obstacle !== undefined) {
      await sets.transact(set, waitForKey(clock.now(), generation, obstacle), cause);
      return;
    }
  }
  await sets.transact(set, finishRotation(clock.now(), generation), cause);
};

/** Page by page, each asked for while the one before it is worked on. */
async function* batchesFrom(
  first: Page,
  listed: (pageToken: string) => Promise<Page>,
  mayGoOn: () => Promise<boolean>,
  concurrency: number,
): AsyncGenerator<readonly EncryptedResource[]> {
  for (let page: Page | undefined = first; page !== undefined; ) {
    if (!(await mayGoOn())) return;
    const next: Promise<Page> | undefined = page.nextPageToken === '' ? undefined : listed(page.nextPageToken);
    // Waited for later, or by nobody once a batch has failed.
    next?.catch(() => undefined);
    yield* batchesOf(page.resources, concurrency);
    page = await next;
  }
}

const batchesOf = (resources: readonly EncryptedResource[], concurrency: number): readonly EncryptedResource[][] => {
  const size = Math.min(batchMax, Math.ceil(concurrency / batchesUnderWay));
  return Array.from({ length: Math.ceil(resources.length / size) }, (_, n) =>
    resources.slice(n * size, (n + 1) * size),
  );
};

/** Where to, and by whom. */
interface Move {
  readonly disks: SetParts['disks'];
  readonly keyVersion: string;
  readonly generation: number;
  readonly call: ReturnType<typeof callFor>;
  readonly signal: AbortSignal;
}

/** Moves what nothing stands in the way of, together. Each has an outcome of its own. */
const moveTogether = async (move: Move, listed: readonly EncryptedResource[], pass: Pass): Promise<void> => {
  const { disks, keyVersion: targetKeyVersion, generation, call, signal } = move;
  if (signal.aborted || pass.isOvertaken) return;
  const resources = listed.filter(({ keyVersion }) => !pass.obstacles.has(keyVersion));
  if (resources.length === 0) return;
  const names = resources.map(({ name }) => name);
  try {
    const { outcomes } = await disks.rewrapDeks({ names, targetKeyVersion, generation }, call);
    for (const [n, resource] of resources.entries()) {
      const outcome = outcomes[n]?.outcome;
      if (outcome?.$case === 'moved') pass.moved++;
      else if (outcome) {
        const refusal = itemError(outcome.value, { method: 'RewrapDeks', peer: 'disk' });
        note(pass, resource, refusal, move);
      } else throw new Error(`RewrapDeks answered ${resource.name} with nothing`);
    }
  } catch (error) {
    if (!isOutage(error)) throw error;
    pass.unclear ??= error;
  }
};

/** Notes why one was not moved. */
const note = (pass: Pass, resource: EncryptedResource, error: Rejection | RpcFailure, move: Move): void => {
  if (!(error instanceof Rejection) || isOutage(error)) pass.unclear ??= error;
  // Deleted while we came to it: one less to move.
  else if (error.reason === 'DISK_NOT_FOUND' || error.reason === 'SNAPSHOT_NOT_FOUND') pass.moved++;
  else if (error.reason === 'GENERATION_OUTDATED') pass.isOvertaken = true;
  else noteObstacle(pass, resource, error, move);
};

/**
 * A refusal for a key, or for how its vault is protected, stands for all under it; any other is about this one disk alone. So
 * is one for a version that the move is not about: where another move was cut short, its disk is ahead of what is listed of it.
 */
const noteObstacle = (pass: Pass, resource: EncryptedResource, error: Rejection, move: Move): void => {
  const reason = definiteReason(error);
  const keyVersion = error.metadata.key_version || resource.keyVersion;
  if (reason !== undefined) {
    const isOfAll = keyVersion === resource.keyVersion || keyVersion === move.keyVersion;
    pass.obstacles.set(isOfAll ? resource.keyVersion : resource.name, { reason, keyVersion });
    return;
  }
  const { reason: code } = error;
  const concerned = code === 'TARGET_WEAKER_PROTECTED' ? resource.keyVersion : resource.name;
  pass.obstacles.set(concerned, { reason: 'UNKNOWN', keyVersion, code });
};
