import type { JsonObject } from '@bufbuild/protobuf';
import { Rejection } from '@interlock/event-store';
import { RpcFailure } from '@interlock/rpc';
import { problemText } from '../failure.ts';
import { UsageError } from '../problems.ts';
import { fullName, shortName } from '../request/names.ts';
import { elementsIn, PAGE_SIZE_MAX } from '../request/pages.ts';
import { methodOf, Service } from '../request/schema.ts';
import type { Session } from '../session/session.ts';
import { type AccessTaken, losingSetsIn } from '../verbs/access-taken.ts';
import { objectsIn } from '../verbs/before.ts';
import { type BlastRadius, blastRadiusOf, blastRadiusText } from '../verbs/blast-radius.ts';

/** Help of `--confirm`. */
export const confirmHelp =
  'does it where machines stop; without it the command asks, or is refused where there is no terminal';

/** How long a confirmed command reads its preview before it acts, in milliseconds: it may be an emergency. */
const LOOK_MS = 3_000;

/**
 * Shows which machines a command stops before it takes access to keys away. If machines would stop, or that cannot be known,
 * it needs `--confirm`, or the reply `yes` in a terminal.
 * @param takings what the command takes away; called once. A refusal of its reads counts as not known
 * @returns whether the command was confirmed
 * @throws UsageError with the command to repeat
 */
export async function confirmAccessTaken(
  takings: () => Promise<readonly AccessTaken[]>,
  isConfirmed: boolean,
  session: Session,
): Promise<boolean> {
  const { terminal, output } = session;
  const endMs = isConfirmed ? session.clock.monotonicMs() + LOOK_MS : Number.POSITIVE_INFINITY;
  const found = await lookAt(takings, endMs, session);
  const radius = blastRadiusOf(found.lines);
  const needsConfirmation = found.unknown !== undefined || radius.stops.length + radius.unreadable.length > 0;
  if (!needsConfirmation && (found.isNothingTaken || found.isRefused)) return isConfirmed;
  const others = needsConfirmation ? await othersRunning(radius, session) : undefined;
  const text = textOf(found, radius, others, session);
  if (isConfirmed || !needsConfirmation) {
    if (!output.isDocument) terminal.err(text);
    return isConfirmed;
  }
  if (terminal.confirm === undefined)
    throw new UsageError(`${text}. Nothing was done. To do it, repeat with --confirm: ${session.typed} --confirm`);
  terminal.err(text);
  if (await terminal.confirm('Continue?')) return true;
  throw new UsageError('not confirmed: nothing was done');
}

interface Look {
  readonly lines: readonly JsonObject[];
  /** Whether no set loses access. */
  readonly isNothingTaken: boolean;
  /** Whether the caller may not see what stops: the command itself is refused then. */
  readonly isRefused: boolean;
  /** Whether the time ended before all was read. */
  readonly isCut: boolean;
  /** Why the machines are not known. */
  readonly unknown: string | undefined;
}

type Previewed = Pick<Look, 'lines' | 'isCut' | 'isRefused'>;

/** Reads what is affected, until a time of the monotonic clock. */
async function lookAt(takings: () => Promise<readonly AccessTaken[]>, endMs: number, session: Session): Promise<Look> {
  const lines: JsonObject[] = [];
  let [isCut, isRefused] = [false, false];
  try {
    const all = await takings();
    for (const taken of all) {
      const one = await linesOf(taken, endMs, session);
      lines.push(...one.lines);
      isCut ||= one.isCut;
      isRefused ||= one.isRefused;
    }
    return { lines, isCut, isRefused, isNothingTaken: all.length === 0, unknown: undefined };
  } catch (error) {
    const isGone = error instanceof Rejection && error.code === 'NOT_FOUND';
    // The command itself reports what does not exist.
    if (isGone) return { lines, isCut, isRefused, isNothingTaken: true, unknown: undefined };
    if (!(error instanceof Rejection || error instanceof RpcFailure)) throw error;
    return { lines, isCut, isRefused, isNothingTaken: false, unknown: problemText(error) };
  }
}

/** The lines of a preview, of sets that really lose access. */
async function linesOf({ preview, loses }: AccessTaken, endMs: number, session: Session): Promise<Previewed> {
  const { lines, ...rest } = await previewed(preview, endMs, session);
  if (loses === undefined) return { lines, ...rest };
  const losing = new Set<string>();
  for (const set of losingSetsIn(lines)) if (await loses(set)) losing.add(set.set);
  return { lines: lines.filter(({ diskEncryptionSet }) => losing.has(String(diskEncryptionSet))), ...rest };
}

/** All pages of a preview, or those that are read in time. */
async function previewed(
  preview: JsonObject,
  endMs: number,
  { caller, clock, timeoutMs }: Session,
): Promise<Previewed> {
  const method = methodOf(Service.diskEncryptionSet, 'PreviewImpact');
  const lines: JsonObject[] = [];
  for (let pageToken = ''; ; ) {
    const leftMs = Math.min(endMs - clock.monotonicMs(), timeoutMs ?? Number.POSITIVE_INFINITY);
    if (leftMs <= 0) return { lines, isCut: true, isRefused: false };
    const options = Number.isFinite(leftMs) ? { deadlineMs: Math.max(1, leftMs) } : {};
    try {
      const request = { ...preview, pageSize: PAGE_SIZE_MAX, pageToken };
      const page = await caller.call('disk-encryption-set', method, request, options);
      lines.push(...objectsIn(page.impacts));
      pageToken = String(page.nextPageToken ?? '');
    } catch (error) {
      // A caller who may not preview a change to a key may not make it either: the change is refused with its own reason.
      if (preview.principal === undefined && error instanceof Rejection && error.code === 'PERMISSION_DENIED')
        return { lines: [], isCut: false, isRefused: true };
      throw error;
    }
    if (pageToken === '') return { lines, isCut: false, isRefused: false };
  }
}

/** Running machines of the group, or of the subscription, that are not affected; undefined if they cannot be counted at once. */
async function othersRunning(
  { stops, fails }: BlastRadius,
  { caller, settings: { names } }: Session,
): Promise<{ readonly count: number; readonly of: string } | undefined> {
  const of = names.group === undefined ? names.subscription : fullName('resourceGroup', names.group, names, '--group');
  if (of === undefined) return undefined;
  const list = methodOf(Service.compute, 'ListVirtualMachines');
  try {
    const page = await caller.call('compute', list, { parent: of, pageSize: PAGE_SIZE_MAX }, { deadlineMs: LOOK_MS });
    if (typeof page.nextPageToken === 'string' && page.nextPageToken !== '') return undefined;
    const affected = new Set([...stops, ...fails]);
    const running = elementsIn(list, page).filter(
      ({ name, powerState }) => powerState === 'RUNNING' && !affected.has(String(name)),
    );
    return { count: running.length, of };
  } catch (error) {
    // The count is optional: the command also works if machines cannot be listed.
    if (error instanceof Rejection || error instanceof RpcFailure) return undefined;
    throw error;
  }
}

function textOf(
  { unknown, isCut }: Look,
  radius: BlastRadius,
  others: { readonly count: number; readonly of: string } | undefined,
  { settings: { namesWithoutFlags: names } }: Session,
): string {
  if (unknown !== undefined) return `which machines stop is not known: ${unknown}`;
  const short = (name: string): string => shortName(name, names);
  const runOn =
    others === undefined || others.count === 0
      ? []
      : [`${others.count} others in ${others.of.split('/').at(-1)} run on`];
  return [`${isCut ? 'at least ' : ''}${blastRadiusText(radius, short)}`, ...runOn].join(', ');
}
