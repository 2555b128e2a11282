import { hostSpec } from '@interlock/host';
import { ConfigError, type ConfigProblem, readConfig, variableOf } from '@interlock/runtime';
import { computeSpec } from '../../../services/compute/src/settings.ts';
import { diskProblems, diskSpec, leaseTermsOf } from '../../../services/disk/src/settings.ts';
import { setSpec } from '../../../services/disk-encryption-set/src/settings.ts';
import { identitySpec } from '../../../services/identity/src/settings.ts';
import { keyVaultSpec } from '../../../services/key-vault/src/settings.ts';
import { type SimulatedSettings, simulatedSettings } from '../../simulation/cloud/deployment.ts';

/** Settings of the services that the simulation has too, with the defaults of the services. */
const spec = {
  authzTtlMs: hostSpec.authzTtlMs,
  shareTtlMs: hostSpec.shareTtlMs,
  userTokenLifetimeMs: identitySpec.userTokenLifetimeMs,
  retentionDayMs: keyVaultSpec.retentionDayMs,
  watchdogMs: setSpec.watchdogMs,
  rotationRetryMs: setSpec.rotationRetryMs,
  rotationCheckIntervalMs: setSpec.rotationCheckIntervalMs,
  leaseTtlMs: diskSpec.leaseTtlMs,
  hostLeaseTtlMs: diskSpec.hostLeaseTtlMs,
  ioPauseTimeoutMs: diskSpec.ioPauseTimeoutMs,
  unreachableGraceMs: diskSpec.unreachableGraceMs,
  guestStopTimeoutMs: computeSpec.guestStopTimeoutMs,
  guestIoTimeoutMs: computeSpec.guestIoTimeoutMs,
  startTimeoutMs: computeSpec.startTimeoutMs,
  sweepIntervalMs: computeSpec.sweepIntervalMs,
  vmHostTtlMs: computeSpec.vmHostTtlMs,
  vmHostLostMs: computeSpec.vmHostLostMs,
} as const;

/** Variables that an experiment may set for the simulation. */
export const simulatedVariables: readonly string[] = Object.keys(spec).map(variableOf);

/** Settings of a simulated cloud, and of its guests. */
export interface ExperimentSettings {
  readonly cloud: SimulatedSettings;
  /** Longest read, write or flush of a guest, in milliseconds. */
  readonly guestIoTimeoutMs: number;
}

/**
 * Reads the settings of an experiment as the services read their environment.
 * @throws ConfigError naming every value that a service would refuse
 */
export const experimentSettings = (settings: Readonly<Record<string, string>>): ExperimentSettings => {
  const config = readConfig(settings, spec);
  const problems = diskProblems(config);
  if (problems.length > 0) throw new ConfigError(problems);
  const { guestIoTimeoutMs, userTokenLifetimeMs, rotationCheckIntervalMs, ...rest } = config;
  const { authzTtlMs, shareTtlMs, retentionDayMs, watchdogMs, rotationRetryMs } = rest;
  const { hostLeaseTtlMs, guestStopTimeoutMs, startTimeoutMs, sweepIntervalMs } = rest;
  return {
    guestIoTimeoutMs,
    cloud: {
      ...simulatedSettings,
      ...{ authzTtlMs, shareTtlMs, retentionDayMs, watchdogMs, rotationRetryMs },
      ...{ hostLeaseTtlMs, guestStopTimeoutMs, startTimeoutMs, sweepIntervalMs },
      userTokenMs: userTokenLifetimeMs,
      rotationCheckMs: rotationCheckIntervalMs,
      leases: leaseTermsOf(config),
      vmHosts: { ttlMs: config.vmHostTtlMs, lostMs: config.vmHostLostMs },
    },
  };
};

/** The problems of an experiment's settings; empty if there are none. */
export const settingProblems = (settings: Readonly<Record<string, string>>): readonly ConfigProblem[] => {
  try {
    experimentSettings(settings);
    return [];
  } catch (error) {
    if (error instanceof ConfigError) return error.problems;
    throw error;
  }
};
