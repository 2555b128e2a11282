/** Names of span attributes and metric dimensions that belong to this domain; values are resource names unless noted. */
export const DomainAttribute = {
  keyVersion: 'interlock.key.version',
  diskEncryptionSet: 'interlock.des',
  disk: 'interlock.disk',
  /** Short name of a disk host: `disk-0`. */
  diskHost: 'interlock.disk_host',
  /** Short name of the disk host or VM host that a process is: `disk-0`, `vm-host-0`. An attribute of the resource. */
  host: 'interlock.host',
  virtualMachine: 'interlock.vm',
  /** Short name of a VM host: `vm-host-0`. */
  vmHost: 'interlock.vm_host',
  /** Why access is gone: a value of the one enumeration of reasons. */
  reason: 'interlock.reason',
  /** `reason` of a rejected request. */
  rejectionReason: 'interlock.rejection.reason',
  /** Ids of the events that a span stored, or of those that a run of processes continues: `<stream>@<version>`. */
  events: 'interlock.event.ids',
  /** Of a link: ids of the events of the linked span that those of this span follow from. */
  causes: 'interlock.cause.ids',
  correlationId: 'interlock.correlation_id',
  caller: 'interlock.caller',
} as const;
