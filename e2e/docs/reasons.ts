import { filesLike, textOf } from './sources.ts';
import { visit } from './test-titles.ts';

/** Where the code uses a reason. */
export interface ReasonUse {
  /** Canonical codes it is thrown with, if known. */
  readonly codes: ReadonlySet<string>;
  /** Files that name it, as paths from the root. */
  readonly files: ReadonlySet<string>;
}

/** Reasons by name. A name with `*` is composed at run time. */
export type Reasons = ReadonlyMap<string, ReasonUse>;

/** Without the command line, which has its own reasons, and code that reads the environment. */
const source = /^(?:libs|services)\/(?!contracts\/|cli\/).*(?<!\.test|\/main)\.ts$/;
const testSupport = /\/test-[^/]*\.ts$/;
const capitals = /^[A-Z][A-Z0-9]*(?:_[A-Z0-9]+)+$/;
const capitalsInText = /\b[A-Z][A-Z0-9]*(?:_[A-Z0-9]+)+\b/g;

/** The reason of unexpected errors; also a code. */
const unexpected = 'INTERNAL';

/** Codes of google.rpc.Code that look like reasons. */
const codes = new Set([
  'INVALID_ARGUMENT',
  'DEADLINE_EXCEEDED',
  'NOT_FOUND',
  'ALREADY_EXISTS',
  'PERMISSION_DENIED',
  'RESOURCE_EXHAUSTED',
  'FAILED_PRECONDITION',
  'OUT_OF_RANGE',
  'DATA_LOSS',
]);

/** Texts in capitals that are neither a reason nor a value of an enum of the API. */
const noReasons = new Set([
  // The environment.
  'IO_PAUSE_TIMEOUT_MS',
  'LEASE_TTL_MS',
  'NBD_ADDRESS',
  'NBD_LISTEN',
  'VM_HOST_LEAVE_MS',
  'NODE_COMPILE_CACHE',
  'TLS_CA_FILE',
  'TLS_CERTIFICATE_FILE',
  'TLS_KEY_FILE',
  // An option of protobuf.
  'NO_SIDE_EFFECTS',
  // A guest writes this into its journal.
  'CONTENT_MISMATCH',
  'FILE_SYSTEM_DAMAGED',
  'GUEST_IO_ERROR',
  // Events of QEMU.
  'BLOCK_IO_ERROR',
  'DEVICE_DELETED',
  // References of spans in Jaeger's format.
  'CHILD_OF',
  'FOLLOWS_FROM',
  // The activity log gives this as the cause of a start.
  'KEY_ACCESS_RESTORED',
]);

/**
 * Every reason in the code: the arguments of `new Rejection(…)`, and any other text in capitals, because reasons also pass
 * through functions (`refuse('TAGS_INVALID', …)`) and records first.
 */
export const reasonsInCode = (): Reasons => {
  const enums = enumValues();
  const reasons = new Map<string, { codes: Set<string>; files: Set<string> }>();
  const note = (reason: string, file: string, code?: string): void => {
    const use = reasons.get(reason) ?? { codes: new Set(), files: new Set() };
    use.files.add(file);
    if (code !== undefined) use.codes.add(code);
    reasons.set(reason, use);
  };
  for (const file of filesLike(source)) {
    if (testSupport.test(file)) continue;
    visit(file, textOf(file), {
      Literal({ value }) {
        if (typeof value !== 'string' || !(capitals.test(value) || value === unexpected)) return;
        if (!codes.has(value) && !enums.has(value) && !noReasons.has(value)) note(value, file);
      },
      NewExpression({ callee, arguments: [code, reason] }) {
        if (callee.type !== 'Identifier' || callee.name !== 'Rejection') return;
        const known = code?.type === 'Literal' && typeof code.value === 'string' ? code.value : undefined;
        if (reason?.type === 'Literal' && typeof reason.value === 'string') note(reason.value, file, known);
        if (reason?.type === 'TemplateLiteral')
          note(reason.quasis.map(({ value }) => value.raw).join('*'), file, known);
      },
    });
  }
  return reasons;
};

/** Reasons in the comments of the API description, and those of its enum of reasons. */
export const reasonsInApi = (): ReadonlySet<string> => {
  const enums = enumValues();
  const found = new Set<string>();
  for (const file of protoFiles()) {
    const text = textOf(file);
    const comments = text.split('\n').filter((line) => line.trimStart().startsWith('//'));
    for (const [name] of comments.join('\n').matchAll(capitalsInText)) {
      if (!codes.has(name) && !enums.has(name) && !noReasons.has(name)) found.add(name);
    }
    for (const name of valuesOf(text, isReasonEnum)) if (!name.endsWith('_UNSPECIFIED')) found.add(name);
  }
  return found;
};

/** Whether a name, which may contain `*`, matches a reason. */
export const standsFor = (name: string, reason: string): boolean =>
  name === reason || new RegExp(`^${name.split('*').join('[A-Z0-9_]+')}$`).test(reason);

const protoFiles = (): readonly string[] => filesLike(/^proto\/.*\.proto$/);
const isReasonEnum = (name: string): boolean => name === 'KeyAccessReason';

/** Values of the API's enums that are no reasons. */
const enumValues = (): ReadonlySet<string> => {
  const values = new Set<string>();
  for (const file of protoFiles()) {
    const text = textOf(file);
    for (const name of valuesOf(text, (other) => !isReasonEnum(other))) values.add(name);
    for (const name of valuesOf(text, isReasonEnum)) if (name.endsWith('_UNSPECIFIED')) values.add(name);
  }
  return values;
};

const valuesOf = (proto: string, isWanted: (name: string) => boolean): readonly string[] =>
  [...proto.matchAll(/\benum (\w+) \{([^}]*)\}/g)]
    .filter(([, name = '']) => isWanted(name))
    .flatMap(([, , body = '']) => [...body.matchAll(/^\s*([A-Z][A-Z0-9_]*) = \d+/gm)].map(([, value = '']) => value));
