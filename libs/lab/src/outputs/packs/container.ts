import type { Command } from './pack.ts';

/** Common settings of the containers of a pack. */
export interface PackImage {
  /** The tools image. */
  readonly image: string;
  /** Resource group of the estate. */
  readonly group: string;
}

const services = ['identity', 'key-vault', 'disk-encryption-set', 'disk', 'compute'];

const addressOf = (service: string): string => `${service.toUpperCase().replaceAll('-', '_')}_ADDRESS`;

/** A container that runs a command line as the administrator of the cloud, under the restricted pod security standard. */
export const commandContainer = (name: string, command: Command, { image, group }: PackImage) => ({
  name,
  image,
  imagePullPolicy: 'IfNotPresent',
  args: ['interlock', ...command],
  env: Object.entries({
    DATA: '/secrets/administrator',
    GROUP: group,
    CA_FILE: '/secrets/tls/ca.crt',
    CERTIFICATE_FILE: '/secrets/tls/tls.crt',
    KEY_FILE: '/secrets/tls/tls.key',
    ...Object.fromEntries(services.map((service) => [addressOf(service), `${service}:7400`])),
  }).map(([variable, value]) => ({ name: `INTERLOCK_${variable}`, value })),
  resources: {
    requests: { cpu: '50m', memory: '128Mi', 'ephemeral-storage': '16Mi' },
    limits: { cpu: '1', memory: '256Mi', 'ephemeral-storage': '128Mi' },
  },
  securityContext: {
    runAsNonRoot: true,
    runAsUser: 10001,
    runAsGroup: 10001,
    allowPrivilegeEscalation: false,
    readOnlyRootFilesystem: true,
    capabilities: { drop: ['ALL'] },
    seccompProfile: { type: 'RuntimeDefault' },
  },
  volumeMounts: [
    { name: 'administrator', mountPath: '/secrets/administrator', readOnly: true },
    { name: 'tls', mountPath: '/secrets/tls', readOnly: true },
  ],
});

/** Volumes of such a container. @param mode of the files; undefined: that of Kubernetes */
export const commandVolumes = (mode?: number) =>
  [
    ['administrator', 'interlock-administrator'],
    ['tls', 'interlock-tls-client'],
  ].map(([name, secretName]) => ({
    name,
    secret: { secretName, ...(mode === undefined ? {} : { defaultMode: mode }) },
  }));
