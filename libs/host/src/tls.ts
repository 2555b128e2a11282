import { type CertificateFiles, type Certificates, openAuthorities, openCertificates } from '@interlock/rpc';
import type { Clock, ConfigOf, Logger, Renewed, Scope } from '@interlock/runtime';
import type { Meter } from '@opentelemetry/api';
import type { hostSpec } from './settings.ts';

type TlsSettings = Pick<
  ConfigOf<typeof hostSpec>,
  'transport' | 'tlsCertificateFile' | 'tlsKeyFile' | 'tlsCaFile' | 'tlsClientCaFile' | 'tlsReloadIntervalMs'
>;

/**
 * Certificates and authorities of this service, reloaded while it runs; `plaintext` with TRANSPORT=plaintext.
 * @throws Error that names the missing variable or the invalid file
 */
export const openTls = async (
  config: TlsSettings,
  seams: { readonly clock: Clock; readonly log: Logger; readonly meter: Meter; readonly scope: Scope },
): Promise<Renewed<Certificates> | 'plaintext'> => {
  if (config.transport === 'plaintext') return 'plaintext';
  const { clock, log, meter, scope } = seams;
  const files: CertificateFiles = {
    certificate: required(config.tlsCertificateFile, 'TLS_CERTIFICATE_FILE'),
    key: required(config.tlsKeyFile, 'TLS_KEY_FILE'),
    ca: required(config.tlsCaFile, 'TLS_CA_FILE'),
    ...(config.tlsClientCaFile === undefined ? {} : { clientCa: config.tlsClientCaFile }),
  };
  const certificates = await openCertificates({ files, clock, log, intervalMs: config.tlsReloadIntervalMs });
  scope.defer('TLS certificate', () => certificates.close());
  const remaining = meter.createObservableGauge('interlock.tls.certificate.remaining', {
    description: 'Time until the certificate in use ends',
    unit: 's',
  });
  remaining.addCallback((observed) => {
    const { endsAt, authorityEndsAt } = certificates.current();
    const leftS = (instant: number): number => (instant - clock.now()) / 1_000;
    observed.observe(leftS(endsAt), { 'interlock.tls.certificate': 'own' });
    observed.observe(leftS(authorityEndsAt), { 'interlock.tls.certificate': 'authority' });
  });
  return certificates;
};

/** The authorities of the Postgres server, reloaded while the service runs; undefined without TLS. */
export const openStoreAuthorities = async (
  { databaseCaFile, tlsReloadIntervalMs }: Pick<ConfigOf<typeof hostSpec>, 'databaseCaFile' | 'tlsReloadIntervalMs'>,
  seams: { readonly clock: Clock; readonly log: Logger; readonly scope: Scope },
): Promise<Renewed<string> | undefined> => {
  if (databaseCaFile === undefined) return undefined;
  const { clock, log, scope } = seams;
  const parts = { file: databaseCaFile, clock, log, intervalMs: tlsReloadIntervalMs };
  const authorities = await openAuthorities('authority of Postgres', parts);
  scope.defer('authority of Postgres', () => authorities.close());
  return authorities;
};

const required = <Value>(value: Value | undefined, variable: string): Value => {
  if (value !== undefined) return value;
  throw new Error(`${variable} is not set: set it, or set TRANSPORT=plaintext if something else secures the network`);
};
