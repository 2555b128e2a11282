import { realpathSync, rmSync, writeFileSync } from 'node:fs';
import type { Scope } from '@interlock/runtime';
import type { DataFolder } from './data-folder.ts';

/** What `cloud.json` says in addition to the process and the folder: addresses and files of a running cloud. */
export interface CloudDescription {
  readonly addresses: Readonly<Record<string, string>>;
  readonly authorityFile: string;
  readonly administratorFile: string;
  /** Endpoint of spans, and socket of the control server. */
  readonly spans: string;
  readonly control: string;
}

/** Writes `cloud.json` (0600) into the data folder. The scope removes it, so it exists while the cloud runs. */
export function writeDescription(data: DataFolder, description: CloudDescription, scope: Scope): void {
  const file = data.path('cloud.json');
  // In a copy of the folder, readers notice that this is not their cloud.
  const whole = { pid: process.pid, folder: realpathSync(data.root), ...description };
  writeFileSync(file, `${JSON.stringify(whole, undefined, 2)}\n`, { mode: 0o600 });
  scope.defer('cloud.json', () => rmSync(file, { force: true }));
}
