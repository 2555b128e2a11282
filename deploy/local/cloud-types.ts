import type { Scope } from '@interlock/runtime';
import type { Administrator } from './bootstrap-identities.ts';
import type { TestControls } from './control/controls-for-tests.ts';
import type { Route } from './control/routes.ts';
import type { DataFolder } from './data-folder.ts';
import type { Nats } from './nats.ts';
import type { Postgres } from './postgres.ts';
import type { Crash } from './restartable.ts';
import type { ServiceName } from './services.ts';
import type { SpanStore } from './spans.ts';

/** What to start, and how. */
export interface LocalCloudOptions {
  /** A folder no other cloud is running on. */
  readonly data: DataFolder;
  /** `DATABASE_URL` and `NATS_URL`, where servers are given; `PATH`. Passed on to the services. */
  readonly env: Readonly<Record<string, string | undefined>>;
  /** Which services; by default all. */
  readonly services?: readonly ServiceName[];
  /** Processes of each service; default 1. */
  readonly replicas?: number;
  /** Prefix of databases, streams and subjects: keeps clouds on the same servers apart. */
  readonly name?: string;
  /** Removes its databases and streams when it stops. */
  readonly temporary?: boolean;
  /** Settings for the services beside those the launcher makes: shorter times in tests, for example. */
  readonly settings?: Readonly<Record<string, string>>;
  /** Settings for one service. */
  readonly settingsOf?: (service: ServiceName) => Readonly<Record<string, string>>;
  /** A scope that closes the cloud, also while it starts. */
  readonly within?: Scope;
  /** Settings of a Postgres that is started here. */
  readonly postgresSettings?: Readonly<Record<string, string>>;
  /** Where services find each other and the servers; by default where these are. */
  readonly route?: Route;
  /** The file of each service. */
  readonly entry?: (service: ServiceName) => string;
  /** Takes each export of the services over OTLP as it was sent: its path (`/v1/traces` …) and its text. Metrics are exported only then. */
  readonly takeTelemetry?: (path: string, body: string) => void;
  /** What clients may do to the cloud in a test; their settings are those of every service. */
  readonly testControls?: TestControls | undefined;
  /** Called with each line of progress. */
  readonly say?: (line: string) => void;
  /** Called when a service, or a server started here, crashes. By default the end of its log goes to standard error. */
  readonly onCrash?: (crash: Crash) => void;
}

/**
 * A running cloud of separate processes. Services are named, their replicas numbered from 0; an unknown or not started one
 * is an error.
 */
export interface LocalCloud {
  /**
   * host:port of each service, the same for the life of the cloud; also of services that were not started. With several replicas as many,
   * separated by commas. Disk has one address, on which the process that holds the volumes serves.
   */
  readonly addresses: Readonly<Record<ServiceName, string>>;
  /** The database of each service, over TCP. */
  readonly databaseUrls: Readonly<Record<ServiceName, string>>;
  /** PEM file of the authority that signed the services' certificate. */
  readonly authorityFile: string;
  /** PEM files of a client certificate, where services require one. Local ones do not. */
  readonly client?: { readonly certificateFile: string; readonly keyFile: string };
  readonly administrator: Administrator;
  readonly spans: SpanStore;
  /** Where processes of the cloud send their spans. */
  readonly spansEndpoint: string;
  /** With it a gateway proves the addresses of its clients to key-vault. */
  readonly clientAddressKey: string;
  readonly postgres: Postgres;
  readonly nats: Nats;
  pid(service: ServiceName, replica?: number): number;
  /** Ends with SIGKILL. */
  kill(service: ServiceName, replica?: number): Promise<void>;
  /** Starts again, stopping it first where it runs. */
  restart(service: ServiceName, replica?: number): Promise<void>;
  pause(service: ServiceName, replica?: number): void;
  resume(service: ServiceName, replica?: number): void;
  /** Stops everything in the reverse order. May be called more than once. */
  stop(): Promise<void>;
}
