import { type Cause, causes, isFinal } from '../causes/causes.ts';
import { cloudParts } from '../experiment.ts';
import type { ActionKind, OptionName, TargetKind } from '../timeline/action-kind.ts';
import { actionNames, actions } from '../timeline/actions.ts';

type Schema = Readonly<Record<string, unknown>>;
type OptionSchema = Schema & { readonly description: string };

/** How each option is written. `start` of `give-back` shares its name with the action, so the action describes both. */
export const stepOptions: Readonly<Record<Exclude<OptionName, 'start'>, OptionSchema>> = {
  clock: {
    title: 'wall or boot',
    enum: ['wall', 'boot'],
    description:
      'The clock that shift-clock sets: the wall clock (default), or the time since boot, as after a suspension.',
    examples: ['boot'],
  },
  by: {
    $ref: '#/$defs/shift',
    description:
      'How long a fault delays each message or operation (`200ms`), or how far it sets a clock (`-5m`: backwards).',
  },
  permission: {
    title: 'get, wrap or unwrap',
    enum: ['get', 'wrap', 'unwrap'],
    description: '`remove-permission`: which permission of the set is removed.',
  },
  operation: {
    title: 'wrap or unwrap',
    enum: ['wrap', 'unwrap'],
    description: '`remove-operation`: which operation of the key version is removed.',
  },
  to: {
    $ref: '#/$defs/name',
    description:
      '`assign-key`: name of the new key of the set. A key that no disk names is made for it. `move-disk`: the disk host, `disk-host-1`.',
  },
};

const targets: Readonly<Record<TargetKind, Schema>> = {
  key: { $ref: '#/$defs/keyTarget', examples: ['premium'] },
  part: { $ref: '#/$defs/part', examples: ['key-vault'] },
  group: { $ref: '#/$defs/name', examples: ['premium'] },
  host: { $ref: '#/$defs/host', examples: ['vm-host-0'] },
  step: { $ref: '#/$defs/name', examples: ['loss'] },
  'two-parts': {
    title: 'a list of two parts of the cloud',
    type: 'array',
    items: { $ref: '#/$defs/part', description: 'A part of the cloud.' },
    minItems: 2,
    maxItems: 2,
    examples: [
      ['compute', 'disk'],
      ['disk-host-0', 'nats'],
    ],
  },
};

const actionSchema = (name: string, { targets: kind, description }: ActionKind): Schema =>
  name === 'start'
    ? {
        title: 'the name of a group, or true in a give-back',
        anyOf: [{ $ref: '#/$defs/name' }, { type: 'boolean' }],
        description,
        examples: ['premium', true],
      }
    : { ...targets[kind], description };

const stepSchema = (): Schema => ({
  title: 'a step with one action',
  type: 'object',
  properties: {
    at: { $ref: '#/$defs/time', description: 'When, counted from the moment at which all steady checks hold.' },
    as: {
      $ref: '#/$defs/name',
      description:
        'Name of the step in expressions and for `give-back`. Default: action and target, for example `kill-nats`.',
    },
    for: { $ref: '#/$defs/duration', description: 'Undoes the step after this time.' },
    leave: {
      title: 'true or false',
      type: 'boolean',
      description: 'The key is not given back, on purpose.',
      examples: [true],
    },
    ...stepOptions,
    ...Object.fromEntries(actionNames.map((name) => [name, actionSchema(name, actions[name])])),
  },
  required: ['at'],
  additionalProperties: false,
  oneOf: actionNames.map((name) => ({
    required: [name],
    ...(name === 'start' ? { properties: { start: { type: 'string' } } } : {}),
  })),
  examples: [{ at: '0s', kill: 'nats', for: '45s' }],
});

/** Actions that a search may use: it makes the give-backs itself. */
export const searchableActions = actionNames.filter((name) => name !== 'give-back');

const rangeSchema = (of: string, examples: readonly string[], description: string): Schema => ({
  title: `a list of two times, such as [${examples.join(', ')}]`,
  type: 'array',
  items: { $ref: `#/$defs/${of}` },
  minItems: 2,
  maxItems: 2,
  description,
  examples: [examples],
});

/** What lists of targets of a search have, where it is no name. */
const itemOf: Readonly<Partial<Record<TargetKind, string>>> = { part: 'part', 'two-parts': 'part', host: 'host' };

const searchTargetsSchema = (kind: TargetKind): Schema => ({
  title: 'any, or a list of targets',
  anyOf: [
    { const: 'any' },
    {
      type: 'array',
      items: { $ref: `#/$defs/${itemOf[kind] ?? 'name'}` },
      minItems: kind === 'two-parts' ? 2 : 1,
      uniqueItems: true,
    },
  ],
  examples: ['any'],
});

const searchActionSchema = (): Schema => ({
  title: 'an action with its targets',
  type: 'object',
  properties: {
    at: rangeSchema('time', ['0s', '10s'], 'Moments of the action. Default: from 0s to `within`.'),
    for: rangeSchema('duration', ['100ms', '20s'], 'How long it lasts. Default: from 100ms to `within`.'),
    by: rangeSchema('shift', ['100ms', '2s'], 'Of `slow` and `shift-clock`: how far.'),
    ...Object.fromEntries(
      searchableActions.map((name) => [
        name,
        { ...searchTargetsSchema(actions[name].targets), description: actions[name].description },
      ]),
    ),
  },
  additionalProperties: false,
  oneOf: searchableActions.map((name) => ({ required: [name] })),
  examples: [{ pause: ['key-vault', 'disk'], for: ['1s', '20s'] }],
});

/** A cause of a matrix: it replaces another one, so it can be undone and calls of an owner bring it about. */
const isExchangeable = (cause: Cause): boolean => cause.take !== undefined && !isFinal(cause);

const matrixCauseSchema = (): Schema => {
  const all = (causes as readonly Cause[]).filter(isExchangeable);
  return {
    title: 'a key action that can be undone, or remove-permission with its permission',
    anyOf: [
      { enum: all.filter(({ choice }) => choice === undefined).map(({ name }) => name) },
      ...all.flatMap(({ name, choice }) =>
        choice === undefined
          ? []
          : [
              {
                type: 'object',
                properties: { [name]: stepOptions[choice.option] },
                required: [name],
                additionalProperties: false,
              },
            ],
      ),
    ],
    examples: ['disable-key', { 'remove-permission': 'unwrap' }],
  };
};

/** The parts of a schema that the tables of actions and causes decide. */
interface SchemaWithSteps {
  readonly properties: { readonly matrix: { readonly properties: { readonly causes: Schema } } };
  readonly $defs: Readonly<Record<string, unknown>>;
}

/** How a host is written. */
const hostForms: readonly Schema[] = [
  { type: 'string', pattern: '^(disk|vm)-host-([0-9]+|of-[A-Za-z][A-Za-z0-9-]*)$' },
  ...['disk-host-of', 'vm-host-of'].map((name) => ({
    type: 'object',
    properties: { [name]: { $ref: '#/$defs/name' } },
    required: [name],
    additionalProperties: false,
  })),
];

/** `experiment.schema.json` with the actions, causes and parts as in the code. */
export const withSteps = <Whole extends SchemaWithSteps>(schema: Whole): Whole => {
  const { matrix } = schema.properties;
  return {
    ...schema,
    properties: {
      ...schema.properties,
      matrix: {
        ...matrix,
        properties: { ...matrix.properties, causes: { ...matrix.properties.causes, items: matrixCauseSchema() } },
      },
    },
    $defs: {
      ...schema.$defs,
      part: {
        title: `a part of the cloud (${cloudParts.join(', ')}), disk-host-<number>, vm-host-<number>, {disk-host-of: <group>} or {vm-host-of: <group>}`,
        anyOf: [{ enum: cloudParts }, ...hostForms],
        examples: ['key-vault', 'disk-host-0', { 'vm-host-of': 'premium' }],
      },
      host: {
        title: 'disk-host-<number>, vm-host-<number>, {disk-host-of: <group>} or {vm-host-of: <group>}',
        anyOf: hostForms,
        examples: ['vm-host-0', { 'disk-host-of': 'premium' }],
      },
      step: stepSchema(),
      searchAction: searchActionSchema(),
    },
  };
};
