import { readFileSync, writeFileSync } from 'node:fs';
import type { LocalCloud } from '@interlock/local/local-cloud.ts';
import { type ServiceName, serviceNames } from '@interlock/local/services.ts';

/** Forgets the peaks so far (Linux, proc(5): 5 resets the high-water mark of the resident set). */
export const resetPeaks = (cloud: LocalCloud): void => {
  for (const service of serviceNames) writeFileSync(`/proc/${cloud.pid(service)}/clear_refs`, '5');
};

/** The most memory any service had resident since, in MiB. */
export const highestPeak = (cloud: LocalCloud): { readonly service: ServiceName; readonly mib: number } => {
  const peaks = serviceNames.map((service) => {
    const [, kib = '0'] = /^VmHWM:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${cloud.pid(service)}/status`, 'utf8')) ?? [];
    return { service, mib: Math.round(Number(kib) / 1_024) };
  });
  return peaks.reduce((most, one) => (one.mib > most.mib ? one : most));
};
