import type { JsonObject } from '@bufbuild/protobuf';
import type { Workload } from '@interlock/rpc';
import type { Output } from '../output/output.ts';
import type { Terminal } from '../output/terminal.ts';
import type { NameKind } from '../request/names.ts';
import type { ServiceName } from '../request/schema.ts';
import type { Session } from '../session/session.ts';
import type { TakesAccess } from './access-taken.ts';
import type { Before } from './before.ts';
import type { Note } from './notes.ts';
import type { PrincipalNames } from './principals.ts';

/** A positional argument of a command. */
export type Target =
  /** A name that fills one field. */
  | { readonly word: string; readonly field: string; readonly kind: NameKind; readonly optional?: boolean }
  /** The name of a new resource: its parent fills `parent`, its id fills `idField`. */
  | { readonly word: string; readonly kind: NameKind; readonly parent: string; readonly idField: string }
  /** A name of one of several kinds: the first whose form fits. `otherwise` says what to do with a name that fits none. */
  | { readonly word: string; readonly oneOf: readonly NameForm[]; readonly otherwise?: string }
  /** A text, used as it is. */
  | { readonly word: string; readonly field: string };

/** How a name of one kind looks, and the field it fills. */
export interface NameForm {
  readonly field: string;
  readonly kind: NameKind;
  readonly fits: RegExp;
}

/** One RPC as a command: `interlock <noun> <verb> <targets> --flags`. */
export interface Verb {
  readonly noun: string;
  readonly verb: string;
  /** The service that has the RPC; `any` where every service has it: then the command line names one. */
  readonly service: Workload | 'any';
  readonly contract: ServiceName;
  /** Name in the .proto file. */
  readonly method: string;
  /** The RPC for one version of a key; its request has the same fields. */
  readonly versionMethod?: string;
  /** The RPC for several targets: their names fill `field`, at most `callMax` per call. It returns an outcome for each. */
  readonly many?: {
    readonly method: string;
    readonly field: string;
    readonly callMax: number;
    /** A switch in place of names: every resource of the list that `selects` accepts. */
    readonly all?: { readonly switch: string; readonly list: string; selects(resource: JsonObject): boolean };
  };
  /** Its help, where the comment of the RPC does not fit because another command has the same RPC. */
  readonly help?: string;
  /** A line for people below the response. */
  readonly note?: Note;
  /** Completes the request. Not called for a whole request (`--body`). */
  readonly before?: Before;
  /** The access to keys that a request takes away: where machines would stop, the command needs `--confirm`. */
  readonly takesAccess?: TakesAccess;
  /** Fields of the request that `-o wide` adds, unless they are given. */
  readonly wide?: JsonObject;
  /** Flags that fill no field, with their help. */
  readonly switches?: Readonly<Record<string, string>>;
  /** Looks up the names of the principals in the response. */
  readonly principals?: PrincipalNames;
  readonly targets?: readonly Target[];
  /** Flag → field path, in addition to the flags named like the fields. */
  readonly aliases?: Readonly<Record<string, string>>;
  /** Kinds of names of fields whose own name does not show it: `parent` of a list. */
  readonly kinds?: Readonly<Record<string, NameKind>>;
  /** Flags that the command needs; of those in a list, one is enough. A target, a body or a default counts too. */
  readonly required?: readonly (string | readonly string[])[];
  /** Allowed values of a field, as flags have them, where the type allows more. */
  readonly choices?: Readonly<Record<string, readonly string[]>>;
  /** Defaults of fields. */
  readonly defaults?: Readonly<Record<string, 'uuid' | 'group' | 'group-or-subscription' | 'tenant'>>;
  /** For `--wait`: the RPC that reads the resource, and whether it must run in the end. */
  readonly settles?: { readonly get: string; readonly until?: 'running' };
  /** Of an RPC that responds only when its work is done: the name of the resource. The work continues when the call ends. */
  readonly worksOn?: ((request: JsonObject) => string) | undefined;
  /** The same without services: `flag` names a file. `run` is loaded when it is needed. */
  readonly offline?: {
    readonly flag: string;
    readonly flags: Readonly<Record<string, string>>;
    run(
      typed: Readonly<Record<string, unknown>>,
      words: readonly string[],
      parts: { readonly terminal: Terminal; readonly output: Output },
    ): Promise<void>;
  };
  /** Field of the response that `--output` writes to a file: bytes, or a secret. */
  readonly output?: string;
  /** A flag that names a file, and what is done with the file once the resource is ready. */
  readonly fromFile?: {
    readonly flag: string;
    readonly help: string;
    /** @param name full name of the resource */
    run(file: string, name: string, session: Session): Promise<void>;
  };
  /** Whether a verb of every service calls all of them when none is named. Lists always do. */
  readonly asksAll?: boolean;
  /** Whether another module adds the command, because its arguments are not those of the request. */
  readonly isCustom?: boolean;
  /** Whether the verb may be omitted after its noun. */
  readonly isDefault?: boolean;
  /** Adds `--as-key-owner` and `--key-owner`, which fill `key_owner_token`. */
  readonly takesKeyOwner?: boolean;
}

/** Whether a verb takes several names. @param isStream whether its RPC responds with a stream */
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
