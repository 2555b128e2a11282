import { readFileSync } from 'node:fs';
import { spanStore } from '@interlock/lab/spans/span-store';
import { foldersAt } from '@interlock/local/data-folder.ts';
import { addressVariableOf, type ServiceName } from '@interlock/local/services.ts';
import { startSpanReceiver } from '@interlock/local/span-receiver.ts';
import { ConfigError, type createScope, readConfig, systemRandom, text } from '@interlock/runtime';
import { startFileServer } from './files/file-server.ts';
import type { RehearsedCloud } from './rehearsed-cloud.ts';
import { type RehearsalOutcome, rehearse } from './run.ts';

/** Port to which the collector sends a copy of the services' spans while a rehearsal runs. */
const SPANS_PORT = 4318;
/** Port of a file server. */
const FILES_PORT = 7443;

const spec = {
  cloudFolder: text('Folder for the spans that arrive'),
  filesOfDisk: text('host:port of the file server beside the host of disks'),
  filesOfCompute: text('host:port of the file server beside the host of guests'),
  administratorFile: text('JSON file with the principal and secret of the administrator'),
  tlsCaFile: text('PEM file with the authority of the services'),
  tlsCertificateFile: text('PEM file with the certificate to show them'),
  tlsKeyFile: text('PEM file with its key'),
  outFolder: text('Where report.json and report.html go'),
} as const;

/** What `tools files` needs: see file-server.ts. */
const filesSpec = {
  tlsCaFile: spec.tlsCaFile,
  tlsCertificateFile: spec.tlsCertificateFile,
  tlsKeyFile: spec.tlsKeyFile,
  filesFolder: text('The mounted volume of a host'),
} as const;

const tlsOf = (files: {
  readonly tlsCaFile: string;
  readonly tlsCertificateFile: string;
  readonly tlsKeyFile: string;
}) => ({
  ca: readFileSync(files.tlsCaFile, 'utf8'),
  cert: readFileSync(files.tlsCertificateFile, 'utf8'),
  key: readFileSync(files.tlsKeyFile, 'utf8'),
});

/** Serves the files of a host until the pod ends. @throws ConfigError for an incomplete environment */
export const serveFiles = async (
  env: Readonly<Record<string, string | undefined>>,
  scope: ReturnType<typeof createScope>,
): Promise<void> => {
  const config = readConfig(env, filesSpec);
  const server = await startFileServer(config.filesFolder, FILES_PORT, tlsOf(config));
  scope.defer('file server', server.stop);
};

/**
 * Rehearses on the cloud of this process's cluster: the environment names the addresses of services and of the file servers beside the
 * hosts, the collector sends their spans.
 * @throws ConfigError for an incomplete environment
 */
export const rehearseInCluster = async (
  env: Readonly<Record<string, string | undefined>>,
  scope: ReturnType<typeof createScope>,
): Promise<RehearsalOutcome> => {
  const config = readConfig(env, spec);
  const data = foldersAt(config.cloudFolder);
  const receiver = await startSpanReceiver({
    store: spanStore(),
    file: data.path('spans.jsonl'),
    random: systemRandom,
    open: { host: '0.0.0.0', port: SPANS_PORT },
  });
  scope.defer('span receiver', receiver.stop);
  const address = (service: ServiceName): string => {
    const variable = addressVariableOf(service);
    const found = env[variable];
    if (found !== undefined && found !== '') return found;
    throw new ConfigError([{ name: variable, got: 'nothing', expected: `host:port of ${service}` }]);
  };
  const cloud: RehearsedCloud = {
    addresses: {
      identity: address('identity'),
      'key-vault': address('key-vault'),
      'disk-encryption-set': address('disk-encryption-set'),
      disk: address('disk'),
      compute: address('compute'),
    },
    administrator: JSON.parse(readFileSync(config.administratorFile, 'utf8')),
    authorityFile: config.tlsCaFile,
    client: { certificateFile: config.tlsCertificateFile, keyFile: config.tlsKeyFile },
    settings: env,
    spans: receiver.spans,
    postgres: { description: 'the Postgres of the cluster' },
    nats: { description: 'the NATS of the cluster' },
    hosts: { addresses: { disk: config.filesOfDisk, compute: config.filesOfCompute }, tls: tlsOf(config) },
  };
  return rehearse(cloud, { data, out: config.outFolder, say: console.log, signal: scope.signal });
};
