import type { JsonObject } from '@bufbuild/protobuf';
import type { Workload } from '@interlock/rpc';
import type { NameKind } from '../request/names.ts';
import type { ServiceName } from '../request/schema.ts';
import type { Before } from './before.ts';
import type { Doubt } from './doubts.ts';
import type { AskedNote } from './notes.ts';
import type { Knows } from './principals.ts';

/** What stands on the command line without a flag. */
export type Target =
  /** A name that fills one field. */
  | { readonly word: string; readonly field: string; readonly kind: NameKind; readonly optional?: boolean }
  /** A name of something new: what stands before its id fills `parent`, the id fills `idField`. */
  | { readonly word: string; readonly kind: NameKind; readonly parent: string; readonly idField: string }
  /** A name of one of several kinds, told apart by its form: the first that fits. */
  | { readonly word: string; readonly oneOf: readonly NameForm[] }
  /** A text, taken as it is. */
  | { readonly word: string; readonly field: string };

/** What a name of one kind looks like as it is typed, and the field it fills. */
export interface NameForm {
  readonly field: string;
  readonly kind: NameKind;
  readonly fits: RegExp;
}

/** One RPC as a command: `interlock <noun> <verb> <targets> --flags`. */
export interface Verb {
  readonly noun: string;
  readonly verb: string;
  /** Who serves it; `any` for what every service serves: then the service is named on the command line. */
  readonly service: Workload | 'any';
  readonly contract: ServiceName;
  /** Name in the .proto file. */
  readonly method: string;
  /** The RPC in its place where what is named is one version of a key; its request has the same fields. */
  readonly versionMethod?: string;
  /**
   * The RPC in its place where its target is named more than once: with the names in that field, so many a call at most. Answers
   * an outcome for each: `refused`, or the resource.
   */
  readonly many?: {
    readonly method: string;
    readonly field: string;
    readonly callMax: number;
    /** A switch of the verb that means, in place of names, all that a list of the group or subscription shows and this says. */
    readonly all?: { readonly switch: string; readonly list: string; isMeant(resource: JsonObject): boolean };
  };
  /** A line for people beside the answer. */
  readonly note?: AskedNote;
  /** What is looked at before the request is sent; a whole request (`--body`) is sent as it is. */
  readonly before?: Before;
  /** Flags that fill no field, for `before`: what `--help` says of each. */
  readonly switches?: Readonly<Record<string, string>>;
  /** Who the principals in the answer are, where that takes a question. */
  readonly knows?: Knows;
  /** A line for people that takes a question: about something the service that answered does not know. */
  readonly doubt?: Doubt;
  readonly targets?: readonly Target[];
  /** Flag → field path, beside the flags named like the fields. */
  readonly aliases?: Readonly<Record<string, string>>;
  /** Kinds of names of fields whose own name does not say it: `parent` of a list. */
  readonly kinds?: Readonly<Record<string, NameKind>>;
  /**
   * Flags without which the service would refuse, or do more than was meant, by the names people type; of those in a list, one is enough. What a
   * target, a body or a default fills counts as given.
   */
  readonly required?: readonly (string | readonly string[])[];
  /** Values that may be typed, by field, where not all that its type has may: in the form of flags. */
  readonly choices?: Readonly<Record<string, readonly string[]>>;
  /** Fields filled when nothing is typed for them. */
  readonly defaults?: Readonly<Record<string, 'uuid' | 'group' | 'group-or-subscription' | 'tenant'>>;
  /** Whether what it answers goes on for a while, so that `--wait` makes sense; how to look at it again. */
  readonly settles?: { readonly get: string; readonly until?: 'running' };
  /**
   * Of a verb that is answered only when its work is done, which may take minutes: the name of what is worked on. A call that is
   * given up does not end the work, and the same again is answered as the first would have been.
   */
  readonly goesOn?: (request: JsonObject) => string;
  /** Field of the answer that `--output` writes to a file: bytes, or a secret. */
  readonly output?: string;
  /** Of a verb any service answers: whether all are asked where none is named. Lists always are. */
  readonly asksAll?: boolean;
  /** Whether its command is made elsewhere, because it takes other words than its request has fields. */
  readonly isMadeElsewhere?: boolean;
  /** Whether the verb may be left out after its noun. */
  readonly isDefault?: boolean;
  /** Adds `--as-key-owner` and `--key-owner`, which fill `key_owner_token`. */
  readonly takesKeyOwner?: boolean;
}

/** Whether it can be told several names, each of one resource that is there; `isStream`: whether its RPC answers a stream. */
export function takesSeveral({ many, service, targets = [], output }: Verb, isStream: boolean): boolean {
  if (many !== undefined) return true;
  const [only, second] = targets;
  const isName = only !== undefined && 'kind' in only && 'field' in only && only.optional !== true;
  return isName && second === undefined && service !== 'any' && output === undefined && !isStream;
}

/** Makes the verbs of one noun of one service. */
export const nounOf =
  (service: Verb['service'], contract: ServiceName, noun: string) =>
  (verb: string, method: string, rest: Omit<Verb, 'noun' | 'verb' | 'service' | 'contract' | 'method'> = {}): Verb => ({
    noun,
    verb,
    service,
    contract,
    method,
    ...rest,
  });

/** A target that fills `name`. */
export const named = (word: string, kind: NameKind, field = 'name'): readonly Target[] => [{ word, field, kind }];
