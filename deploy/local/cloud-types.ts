import type { SpanStore } from '@interlock/lab/spans/span-store';
import type { Scope } from '@interlock/runtime';
import type { Administrator } from './bootstrap-identities.ts';
import type { TestControls } from './control/controls-for-tests.ts';
import type { Route } from './control/routes.ts';
import type { DataFolder } from './data-folder.ts';
import type { Nats } from './nats.ts';
import type { Postgres } from './postgres.ts';
import type { Crash } from './restartable.ts';
import type { ProcessTarget, ServiceName } from './services.ts';

/** What to start, and how. */
export interface LocalCloudOptions {
  /** A folder on which no other cloud is running. */
  readonly data: DataFolder;
  /** `DATABASE_URL` and `NATS_URL` of given servers, and `PATH`. Passed on to the services. */
  readonly env: Readonly<Record<string, string | undefined>>;
  /** Which services; by default all. */
  readonly services?: readonly ServiceName[];
  /** Processes of each service; default 1. */
  readonly replicas?: number;
  /** Disk hosts as processes of their own; default 0: the process of disk has the volumes. */
  readonly diskHosts?: number;
  /** VM hosts, processes of their own; default 0: compute runs the guests itself. */
  readonly vmHosts?: number;
  /** Prefix of databases, streams and subjects. It separates clouds on the same servers. */
  readonly name?: string;
  /** Removes its databases and streams when it stops. */
  readonly temporary?: boolean;
  /** Settings for the services in addition to those that the launcher makes, for example shorter times in tests. */
  readonly settings?: Readonly<Record<string, string>>;
  /** Settings for one service. */
  readonly settingsOf?: (service: ServiceName) => Readonly<Record<string, string>>;
  /** A scope that closes the cloud, also while it starts. */
  readonly within?: Scope;
  /** Settings of a Postgres that is started here. */
  readonly postgresSettings?: Readonly<Record<string, string>>;
  /** The addresses at which services find each other and the servers; by default the real ones. */
  readonly route?: Route;
  /** The file of each service. */
  readonly entry?: (service: ServiceName) => string;
  /** Receives each OTLP export of the services unchanged: its path (`/v1/traces` …) and its text. Only then are metrics exported. */
  readonly takeTelemetry?: (path: string, body: string) => void;
  /** What clients may do to the cloud in a test. Every service gets its settings. */
  readonly testControls?: TestControls | undefined;
  /** Called with each line of progress. */
  readonly say?: (line: string) => void;
  /** Called when a service, or a server started here, crashes. By default the end of its log goes to standard error. */
  readonly onCrash?: (crash: Crash) => void;
}

/**
 * A running cloud of separate processes. Services have names, their replicas numbers from 0. A service that is unknown or was not
 * started is an error.
 */
export interface LocalCloud {
  /**
   * host:port of each service, the same as long as the cloud exists, also of services that were not started. Replicas have one address
   * each, separated by commas. Without disk hosts of their own, disk has one address, on which the process serves that has the volumes.
   */
  readonly addresses: Readonly<Record<ServiceName, string>>;
  /** The database of each service, over TCP. */
  readonly databaseUrls: Readonly<Record<ServiceName, string>>;
  /** PEM file of the authority that signed the services' certificate. */
  readonly authorityFile: string;
  /** PEM files of a client certificate, if services require one. Local services do not. */
  readonly client?: { readonly certificateFile: string; readonly keyFile: string };
  readonly administrator: Administrator;
  readonly spans: SpanStore;
  /** The endpoint to which the processes of the cloud send their spans. */
  readonly spansEndpoint: string;
  /** The key with which a gateway proves the addresses of its clients to key-vault. */
  readonly clientAddressKey: string;
  readonly postgres: Postgres;
  readonly nats: Nats;
  /** How many disk hosts are processes of their own; 0 if the process of disk has the volumes. */
  readonly diskHosts: number;
  /** How many VM hosts it has; 0 if compute runs the guests itself. */
  readonly vmHosts: number;
  pid(service: ProcessTarget, replica?: number): number;
  /** Ends with SIGKILL. */
  kill(service: ProcessTarget, replica?: number): Promise<void>;
  /** Starts it again, and stops it first if it runs. */
  restart(service: ProcessTarget, replica?: number): Promise<void>;
  pause(service: ProcessTarget, replica?: number): void;
  resume(service: ProcessTarget, replica?: number): void;
  /** Stops everything in the reverse order. May be called more than once. */
  stop(): Promise<void>;
}
