import type { PodSpec } from './render.ts';

/** Any field of a pod: the admission plugin checks fields that no manifest of ours has. */
type Fields = Readonly<Record<string, unknown>>;

const fields = (value: unknown): Fields => (typeof value === 'object' && value !== null ? (value as Fields) : {});
const list = (value: unknown): readonly Fields[] => (Array.isArray(value) ? value.map(fields) : []);
const at = (value: unknown, path: string): unknown =>
  path.split('.').reduce<unknown>((inner, field) => fields(inner)[field], value);

/** Kinds of volumes that the profile allows. */
const volumeTypes = new Set([
  'configMap',
  'csi',
  'downwardAPI',
  'emptyDir',
  'ephemeral',
  'persistentVolumeClaim',
  'projected',
  'secret',
]);
const seLinuxTypes = new Set([
  undefined,
  '',
  'container_t',
  'container_init_t',
  'container_kvm_t',
  'container_engine_t',
]);
const profiles = new Set([undefined, 'RuntimeDefault', 'Localhost']);
const safeSysctls = new Set([
  'kernel.shm_rmid_forced',
  'net.ipv4.ip_local_port_range',
  'net.ipv4.ip_unprivileged_port_start',
  'net.ipv4.tcp_syncookies',
  'net.ipv4.ping_group_range',
  'net.ipv4.ip_local_reserved_ports',
  'net.ipv4.tcp_keepalive_time',
  'net.ipv4.tcp_fin_timeout',
  'net.ipv4.tcp_keepalive_intvl',
  'net.ipv4.tcp_keepalive_probes',
  'net.ipv4.tcp_rmem',
  'net.ipv4.tcp_wmem',
]);

/**
 * The controls for which the admission plugin of a namespace with `pod-security.kubernetes.io/enforce: restricted` refuses a pod,
 * by the Pod Security Standards of Kubernetes 1.34.
 */
export const restrictedProblems = (spec: PodSpec): readonly string[] => {
  const pod = fields(spec);
  const containers = ['initContainers', 'containers', 'ephemeralContainers'].flatMap((kind) => list(pod[kind]));
  const contexts = [pod, ...containers].map((one) => fields(one.securityContext));
  const own = fields(pod.securityContext);
  const handlers = containers.flatMap((container) =>
    ['livenessProbe', 'readinessProbe', 'startupProbe', 'lifecycle.preStop', 'lifecycle.postStart'].flatMap((probe) =>
      ['httpGet', 'tcpSocket'].map((how) => at(container, `${probe}.${how}.host`)),
    ),
  );
  const controls: readonly (readonly [string, boolean])[] = [
    ['HostProcess', contexts.some((context) => at(context, 'windowsOptions.hostProcess') === true)],
    ['Host Namespaces', ['hostNetwork', 'hostPID', 'hostIPC'].some((name) => pod[name] === true)],
    ['Privileged Containers', contexts.some(({ privileged }) => privileged === true)],
    ['Host Ports', containers.some(({ ports }) => list(ports).some(({ hostPort }) => Number(hostPort ?? 0) !== 0))],
    ['Host Probes / Lifecycle Hooks', handlers.some((host) => host !== undefined && host !== '')],
    ['AppArmor', contexts.some((context) => !profiles.has(at(context, 'appArmorProfile.type') as string | undefined))],
    [
      'SELinux',
      contexts.some(({ seLinuxOptions }) => {
        const { type, user, role } = fields(seLinuxOptions);
        return !seLinuxTypes.has(type as string | undefined) || Boolean(user) || Boolean(role);
      }),
    ],
    ['/proc Mount Type', contexts.some(({ procMount }) => procMount !== undefined && procMount !== 'Default')],
    ['Sysctls', list(own.sysctls).some(({ name }) => !safeSysctls.has(String(name)))],
    [
      'Volume Types',
      list(pod.volumes).some((volume) => Object.keys(volume).some((key) => key !== 'name' && !volumeTypes.has(key))),
    ],
    [
      'Privilege Escalation',
      containers.some((container) => at(container, 'securityContext.allowPrivilegeEscalation') !== false),
    ],
    [
      'Running as Non-root',
      containers.some((container) => (at(container, 'securityContext.runAsNonRoot') ?? own.runAsNonRoot) !== true),
    ],
    ['Running as Non-root user', contexts.some(({ runAsUser }) => runAsUser === 0)],
    [
      'Seccomp',
      contexts.some((context) => !profiles.has(at(context, 'seccompProfile.type') as string | undefined)) ||
        containers.some(
          (container) =>
            (at(container, 'securityContext.seccompProfile.type') ?? at(own, 'seccompProfile.type')) === undefined,
        ),
    ],
    [
      'Capabilities',
      containers.some((container) => {
        const { drop, add } = fields(at(container, 'securityContext.capabilities'));
        const isDropped = Array.isArray(drop) && drop.includes('ALL');
        return !isDropped || (Array.isArray(add) && add.some((name) => name !== 'NET_BIND_SERVICE'));
      }),
    ],
  ];
  return controls.flatMap(([control, isBroken]) => (isBroken ? [control] : []));
};
