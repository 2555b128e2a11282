import { hostSpec } from '@interlock/host';
import type { Experiment } from '@interlock/lab';
import { variableOf } from '@interlock/runtime';
import { computeSpec } from '../../../services/compute/src/settings.ts';
import { diskSpec } from '../../../services/disk/src/settings.ts';
import { setSpec } from '../../../services/disk-encryption-set/src/settings.ts';
import { identitySpec } from '../../../services/identity/src/settings.ts';
import { keyVaultSpec } from '../../../services/key-vault/src/settings.ts';

/** Values of the settings that a cloud does not set, by variable. */
const defaults: ReadonlyMap<string, string> = new Map(
  [hostSpec, identitySpec, keyVaultSpec, setSpec, diskSpec, computeSpec].flatMap((spec) =>
    Object.entries(spec).flatMap(([name, reader]): readonly (readonly [string, string])[] => {
      const reading = reader.read(undefined);
      return reading.ok && reading.value !== undefined ? [[variableOf(name), String(reading.value)]] : [];
    }),
  ),
);

/** A setting that a running cloud has otherwise than a file needs it. */
export interface OtherSetting {
  readonly name: string;
  /** As the file needs it. */
  readonly value: string;
  /** As the cloud has it; `none` if it has no such setting. */
  readonly has: string;
}

/** The settings of a file that a running cloud has otherwise: it cannot change them. @param has by variable; an absent one has its default */
export const otherSettings = (
  { settings }: Pick<Experiment, 'settings'>,
  has: Readonly<Record<string, string | undefined>>,
): readonly OtherSetting[] =>
  Object.entries(settings)
    .map(([name, value]) => ({ name, value, has: has[name] ?? defaults.get(name) ?? 'none' }))
    .filter(({ value, has: own }) => own !== value);

/** A running cloud cannot change its settings. @throws Error that names those that the file wants otherwise, and how to change them */
export const refuseSettings = (
  { settings }: Pick<Experiment, 'settings'>,
  has: Readonly<Record<string, string | undefined>>,
  cure: string,
): void => {
  const other = otherSettings({ settings }, has);
  if (other.length === 0) return;
  const wanted = other.map(({ name, value }) => `${name}=${value}`).join(' ');
  throw new Error(`the cloud runs with other settings than ${wanted}: ${cure}, or remove them from the file`);
};
