import type { Container, KubernetesObject, Labels, PodSelector, PodTemplate } from './render.ts';

/** Objects that create pods. */
export const workloadsIn = (objects: readonly KubernetesObject[]): readonly KubernetesObject[] =>
  objects.filter(({ kind }) => ['Deployment', 'StatefulSet', 'Job'].includes(kind));

/** The containers of a workload. */
export const containersOf = ({ spec }: KubernetesObject): readonly Container[] => spec.template.spec.containers;

/** Whether a selector means these labels. */
export const selects = (selector: PodSelector | undefined, labels: Labels): boolean =>
  Object.entries(selector?.matchLabels ?? {}).every(([key, value]) => labels[key] === value) &&
  (selector?.matchExpressions ?? []).every(
    ({ key, operator, values = [] }) =>
      (operator === 'In' && values.includes(labels[key] ?? '')) || (operator === 'Exists' && key in labels),
  );

/**
 * References to missing objects: selectors without a pod, targets without a workload, volumes and variables without their
 * ConfigMap, claim or account. A cluster accepts all of these and then does not start.
 * @param external names of Secrets that something else creates
 */
export const danglingIn = (objects: readonly KubernetesObject[], external: ReadonlySet<string>): readonly string[] => {
  const workloads = workloadsIn(objects);
  const templates = workloads.map(({ spec }) => spec.template);
  const has = (kind: string, name: string): boolean =>
    objects.some((object) => object.kind === kind && object.metadata.name === name);
  const isSomePod = (selector: PodSelector | undefined): boolean =>
    templates.some(({ metadata }) => selects(selector, metadata.labels));
  const problems: string[] = [];
  const want = (isSo: boolean, problem: string): void => {
    if (!isSo) problems.push(problem);
  };
  for (const object of objects) {
    const { kind, metadata, spec } = object;
    const of = `${kind} ${metadata.name}`;
    switch (kind) {
      case 'Deployment':
      case 'StatefulSet':
        want(selects(spec.selector, spec.template.metadata.labels), `${of}: its selector does not mean its own pods`);
        if (kind === 'StatefulSet')
          want(has('Service', spec.serviceName ?? ''), `${of}: no Service ${spec.serviceName}`);
        break;
      case 'Service': {
        const ports = templates
          .filter(({ metadata: { labels } }) => selects({ matchLabels: spec.selector ?? {} }, labels))
          .flatMap(({ spec: { containers } }) => containers.flatMap((container) => container.ports ?? []));
        // Jobs that are not part of an overlay create the rehearsal's pods.
        if (spec.selector?.['app.kubernetes.io/name']?.startsWith('rehearsal')) break;
        for (const { targetPort } of spec.ports ?? [])
          want(
            ports.some(({ name, containerPort }) => name === targetPort || containerPort === targetPort),
            `${of}: no pod it selects has port ${targetPort}`,
          );
        break;
      }
      case 'HorizontalPodAutoscaler':
      case 'ScaledObject':
        want(has(spec.scaleTargetRef?.kind ?? '', spec.scaleTargetRef?.name ?? ''), `${of}: its target is not there`);
        break;
      case 'PodDisruptionBudget':
        want(isSomePod(spec.selector), `${of}: it protects no pod`);
        break;
      case 'NetworkPolicy': {
        // Created by Jobs that are not part of an overlay, by CloudNativePG and by Chaos Mesh.
        const outside = ['rehearsal', 'rehearsal-files', 'experimenter', 'postgres', 'workflow-tasks'];
        want(outside.includes(metadata.name) || isSomePod(spec.podSelector), `${of}: it means no pod`);
        break;
      }
    }
  }
  for (const workload of workloads) {
    const of = `${workload.kind} ${workload.metadata.name}`;
    for (const problem of danglingInTemplate(workload, { has, external })) problems.push(`${of}: ${problem}`);
  }
  return problems;
};

const danglingInTemplate = (
  { spec }: KubernetesObject,
  known: { readonly has: (kind: string, name: string) => boolean; readonly external: ReadonlySet<string> },
): readonly string[] => {
  const { template, volumeClaimTemplates = [] } = spec;
  const problems: string[] = [];
  const want = (isSo: boolean, problem: string): void => {
    if (!isSo) problems.push(problem);
  };
  const account = template.spec.serviceAccountName;
  want(account !== undefined && known.has('ServiceAccount', account), `no ServiceAccount ${account}`);
  const claims = new Set(volumeClaimTemplates.map(({ metadata }) => metadata.name));
  const volumes = new Set([...claims, ...(template.spec.volumes ?? []).map(({ name }) => name)]);
  for (const { secret, configMap, persistentVolumeClaim } of template.spec.volumes ?? []) {
    if (secret) want(known.external.has(secret.secretName), `nothing creates Secret ${secret.secretName}`);
    if (configMap) want(known.has('ConfigMap', configMap.name), `no ConfigMap ${configMap.name}`);
    if (persistentVolumeClaim) {
      const { claimName } = persistentVolumeClaim;
      want(known.has('PersistentVolumeClaim', claimName), `no PersistentVolumeClaim ${claimName}`);
    }
  }
  for (const container of template.spec.containers) {
    for (const { name } of container.volumeMounts ?? []) want(volumes.has(name), `no volume ${name}`);
    for (const { configMapRef } of container.envFrom ?? [])
      want(known.has('ConfigMap', configMapRef.name), `no ConfigMap ${configMapRef.name}`);
    for (const { name, valueFrom } of container.env ?? []) {
      const { secretKeyRef, configMapKeyRef } = valueFrom ?? {};
      if (secretKeyRef)
        want(known.external.has(secretKeyRef.name), `${name}: nothing creates Secret ${secretKeyRef.name}`);
      if (configMapKeyRef) want(known.has('ConfigMap', configMapKeyRef.name), `${name}: no ConfigMap`);
    }
  }
  return problems;
};

/** What the pods of workloads read and `sources` lacks: a ConfigMap, a Secret, or a key of one of them. */
export const missingKeysIn = (
  workloads: readonly KubernetesObject[],
  sources: readonly Pick<KubernetesObject, 'kind' | 'metadata' | 'data'>[],
): readonly string[] => {
  const present = new Set(
    sources.flatMap(({ kind, metadata: { name }, data = {} }) => [
      `${kind} ${name}`,
      ...Object.keys(data).map((key) => `${kind} ${name}: ${key}`),
    ]),
  );
  const wanted = workloads.flatMap((workload) => [
    ...(workload.spec.template.spec.volumes ?? []).flatMap(({ secret, configMap }) => [
      ...(configMap ? [`ConfigMap ${configMap.name}`] : []),
      ...(secret ? [`Secret ${secret.secretName}`] : []),
      ...(secret?.items ?? []).map(({ key }) => `Secret ${secret?.secretName}: ${key}`),
    ]),
    ...containersOf(workload).flatMap(({ env = [], envFrom = [] }) => [
      ...envFrom.map(({ configMapRef: { name } }) => `ConfigMap ${name}`),
      ...env.flatMap(({ valueFrom: { secretKeyRef, configMapKeyRef } = {} }) => [
        ...(secretKeyRef ? [`Secret ${secretKeyRef.name}: ${secretKeyRef.key}`] : []),
        ...(configMapKeyRef ? [`ConfigMap ${configMapKeyRef.name}: ${configMapKeyRef.key}`] : []),
      ]),
    ]),
  ]);
  return [...new Set(wanted)].filter((one) => !present.has(one));
};

/** A pod template of any kind, for rules that apply to all. */
export type { PodTemplate };
