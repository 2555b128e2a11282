import type { SpanStore } from '@interlock/lab/spans/span-store';
import type { DataFolder } from '@interlock/local/data-folder.ts';
import type { OutsideOf } from '../cloud/clients.ts';
import type { FilesTls } from './files/file-server.ts';
import type { FilesAddresses } from './files/remote-files.ts';

/** What a rehearsal needs from its cloud. */
export interface RehearsedCloud extends OutsideOf {
  /** Settings of its services, by environment variable; an absent one has its default. */
  readonly settings: Readonly<Record<string, string | undefined>>;
  /** The store of its services' spans. */
  readonly spans: SpanStore;
  /** The servers on which it runs, for the report. */
  readonly postgres: { readonly description: string };
  readonly nats: { readonly description: string };
  /** How many VM hosts run its guests; absent or 0 if compute does. */
  readonly vmHosts?: number;
  /** How to read the files of its hosts, if they are on other computers. Without it they are in the folder of the cloud. */
  readonly hosts?: { readonly addresses: FilesAddresses; readonly tls: FilesTls };
}

/** Inputs and outputs of the rehearsal. */
export interface RehearsalOptions {
  /** The folder of the cloud, if it is on this machine; else that of the rehearsal. */
  readonly data: DataFolder;
  /** Folder for `report.json` and `report.html`. */
  readonly out: string;
  /** Receives lines for users while it runs. */
  readonly say: (line: string) => void;
  /** Ends the rehearsal early: no further part is played and no report is written. */
  readonly signal: AbortSignal;
}
