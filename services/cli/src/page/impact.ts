import type { JsonObject } from '@bufbuild/protobuf';
import { Rejection } from '@interlock/event-store';
import { RpcFailure } from '@interlock/rpc';
import { problemText } from '../failure.ts';
import type { Caller } from '../request/calls.ts';
import { limiterOf } from '../request/limiter.ts';
import { nextPageIn, PAGE_SIZE_MAX } from '../request/pages.ts';
import { methodOf, Service } from '../request/schema.ts';
import { identityOf } from '../verbs/access-taken.ts';
import { objectsIn } from '../verbs/before.ts';
import { blastRadiusOf } from '../verbs/blast-radius.ts';
import { diskHostImpactNote, impactNote } from '../verbs/notes.ts';
import type { Answer } from './door.ts';
import { type ImpactKind, impactActions } from './impact-actions.ts';

/** How much a loss would affect, now. */
export interface PageImpact {
  /** One sentence with the counts. */
  readonly text: string;
  /** Machines first. */
  readonly parts: readonly ImpactPart[];
  /** What is true of a part only: there is more than was read. */
  readonly isCut: boolean;
  /** Shows the same, and does it, in a terminal. */
  readonly commands: readonly string[];
  /** Why it is not known; empty otherwise. */
  readonly problem: string;
}

/** Resources with the same effect. */
export interface ImpactPart {
  readonly title: string;
  readonly count: number;
  /** Full names, at most `NAMES_MAX`. */
  readonly names: readonly string[];
}

/** Reads the blast radius. */
interface ImpactSource {
  readonly caller: Pick<Caller, 'call'>;
  /** A name as users type it. */
  readonly short: (name: string) => string;
}

/** Pages of a preview that are read: 20,000 lines. */
const PAGES_MAX = 20;
/** Names that are sent of each part. */
const NAMES_MAX = 200;

/** A preview reads every set and machine of a key: one at a time. */
const limited = limiterOf(1);

/** The address of an impact: `impact/DISABLE/vaults/kv1/keys/k1`; of an identity it names the set. */
const address = /^impact\/([A-Z]+)\/((?:vaults|subscriptions|diskHosts)\/[A-Za-z0-9/_.-]+)$/;

/**
 * What a loss would stop, as JSON of `PageImpact`. It changes nothing.
 * @returns undefined if the path is no address of an impact
 */
export const impactAnswer = async (path: string, source: ImpactSource): Promise<Answer | undefined> => {
  const [, action = '', name = ''] = address.exec(path) ?? [];
  const kind = kindOf(name);
  const isKnown = kind !== undefined && impactActions[kind].some(([one]) => one === action);
  if (!isKnown) return undefined;
  const impact = await limited(() => impactOf(kind, action, name, source));
  return { type: 'application/json', body: JSON.stringify(impact) };
};

const kindOf = (name: string): ImpactKind | undefined => {
  const [first, , second, , third] = name.split('/');
  if (first === 'diskHosts') return 'host';
  if (first === 'subscriptions') return name.includes('/diskEncryptionSets/') ? 'identity' : undefined;
  if (first !== 'vaults') return undefined;
  return second === undefined ? 'vault' : third === undefined ? 'key' : 'version';
};

const impactOf = async (kind: ImpactKind, action: string, name: string, source: ImpactSource): Promise<PageImpact> => {
  const commands = commandsOf(kind, action, source.short(name));
  try {
    const found = await (kind === 'host' ? hostImpact(name, source) : keyImpact(kind, action, name, source));
    return { ...found, commands, problem: '' };
  } catch (error) {
    if (!(error instanceof Rejection || error instanceof RpcFailure)) throw error;
    return { text: '', parts: [], isCut: false, commands, problem: problemText(error) };
  }
};

type Found = Pick<PageImpact, 'text' | 'parts' | 'isCut'>;

const keyImpact = async (
  kind: Exclude<ImpactKind, 'host'>,
  action: string,
  name: string,
  { caller, short }: ImpactSource,
): Promise<Found> => {
  const target = kind === 'identity' ? await identityOf(name, caller) : name;
  if (target === '') return { text: `${short(name)} has no identity: nothing depends on it`, parts: [], isCut: false };
  const field = { key: 'key', version: 'keyVersion', vault: 'vault', identity: 'principal' }[kind];
  const request: JsonObject = { [field]: target, action };
  const read = await pagesOf(request, (page) =>
    caller.call('disk-encryption-set', methodOf(Service.diskEncryptionSet, 'PreviewImpact'), page),
  );
  const lines = read.pages.flatMap(({ impacts }) => objectsIn(impacts));
  const { stops, fails, unavailable, unreadable } = blastRadiusOf(lines);
  const refusedWith = read.pages.at(-1)?.refusedWith ?? '';
  const said = (one: string): string => (one === target ? short(name) : short(one));
  return {
    text: impactNote({ impacts: lines, refusedWith }, request, said) ?? '',
    isCut: read.isCut,
    parts: partsOf([
      ['Machines that stop', stops],
      ['Machines that fail at their next start', fails],
      ['Disks and snapshots whose data is lost for good', unreadable],
      ['Disks and snapshots without data until access is back', unavailable],
    ]),
  };
};

const hostImpact = async (name: string, { caller, short }: ImpactSource): Promise<Found> => {
  const read = await pagesOf({ name }, (page) =>
    caller.call('disk', methodOf(Service.disk, 'ListDiskHostResources'), page),
  );
  const resources = read.pages.flatMap((page) => objectsIn(page.resources));
  const machines = new Set(resources.map(({ virtualMachine }) => String(virtualMachine ?? '')));
  machines.delete('');
  return {
    text: diskHostImpactNote({ resources: [...resources] }, { name }, short) ?? '',
    isCut: read.isCut,
    parts: partsOf([
      ['Machines with a disk there', [...machines]],
      ['Disks and snapshots there', resources.map((one) => String(one.name))],
    ]),
  };
};

/** The first pages of a list. */
const pagesOf = async (
  request: JsonObject,
  call: (page: JsonObject) => Promise<JsonObject>,
): Promise<{ readonly pages: readonly JsonObject[]; readonly isCut: boolean }> => {
  const pages: JsonObject[] = [];
  let pageToken = '';
  do {
    const page = await call({ ...request, pageSize: PAGE_SIZE_MAX, pageToken });
    pages.push(page);
    pageToken = nextPageIn(page);
  } while (pageToken !== '' && pages.length < PAGES_MAX);
  return { pages, isCut: pageToken !== '' };
};

const partsOf = (parts: readonly (readonly [title: string, names: readonly string[]])[]): readonly ImpactPart[] =>
  parts.flatMap(([title, names]) =>
    names.length === 0 ? [] : [{ title, count: names.length, names: names.slice(0, NAMES_MAX) }],
  );

/** Commands that show the impact, and that cause it. @param word as users type it */
const commandsOf = (kind: ImpactKind, action: string, word: string): readonly string[] => {
  const shown = kind === 'host' ? `disk-host impact ${word}` : `impact ${kind === 'identity' ? `set:${word}` : word}`;
  const isDefault = impactActions[kind][0]?.[0] === action;
  return [`npx interlock ${shown}${isDefault ? '' : ` --action ${action}`}`, ...doneBy(kind, action, word)];
};

const doneBy = (kind: ImpactKind, action: string, word: string): readonly string[] => {
  const verb = { DISABLE: 'disable', DELETE: 'delete', PURGE: 'purge' }[action];
  if (verb === undefined) return [];
  return [`npx interlock ${kind === 'vault' ? 'vault' : 'key'} ${verb} ${word}`];
};
