import schema from '../../experiment.schema.json' with { type: 'json' };

const properties: Readonly<Record<string, object>> = schema.$defs.settings.properties;

/** Whether the value of a setting is a duration. */
export const isDuration = (name: string): boolean => Reflect.get(properties[name] ?? {}, '$ref') === '#/$defs/duration';

/** Names of the settings that an experiment may change: the schema is their list. */
export const settingNames: readonly string[] = Object.keys(properties);

/** The variable of a setting: `leaseTtl` is `LEASE_TTL_MS`, because it is a duration; `legacyPadding` is `LEGACY_PADDING`. */
export const variableOfSetting = (name: string): string =>
  `${name.replaceAll(/[A-Z]/g, (letter) => `_${letter}`).toUpperCase()}${isDuration(name) ? '_MS' : ''}`;

/** Defaults of durations that the lab has to know, in milliseconds, as `docs/settings.md` lists them. */
export const defaultMs = {
  leaseTtl: 60_000,
  authzTtl: 5_000,
  unreachableGrace: 600_000,
  sweepInterval: 10_000,
  guestStopTimeout: 10_000,
  startTimeout: 60_000,
} as const;

/** A duration of an experiment, in milliseconds: its own setting, or the default. @param settings values by variable */
export const settingMs = (name: keyof typeof defaultMs, settings: Readonly<Record<string, string>>): number =>
  Number(settings[variableOfSetting(name)] ?? defaultMs[name]);
