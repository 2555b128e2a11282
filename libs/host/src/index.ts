export type { Assemble, Assembly, ClientOptions, PeerProcess, Reaction, Seams } from './assembly.ts';
export { type Build, readBuild, versionLine } from './build.ts';
export { lockFolder } from './folder-lock.ts';
export { type FolderSpace, watchFolderSpace } from './folder-space.ts';
export { type HostOptions, type HostSeams, hostService, openStore } from './host.ts';
export { enterHostFolder, folderId } from './host-folder.ts';
export {
  addressOfReplica,
  type CloudService,
  type Credentials,
  type InProcessCloud,
  type InProcessCloudOptions,
  inProcessCloud,
  type OwnSeams,
  type Replica,
} from './in-process-cloud.ts';
export type { WorkPartitions } from './partitions/work-partitions.ts';
export { openPeers, type Peers, type PeersOptions } from './peers.ts';
export { type Finding, startProbes } from './probe-server.ts';
export {
  channelOpener,
  hostProcess,
  openTelemetry,
  type ProcessAssembly,
  type ProcessSeams,
} from './process.ts';
export { callsPerProcessMax, type LinkRefusals, ProcessLink } from './process-link.ts';
export { publishedStreams } from './published-streams.ts';
export { isReachable } from './reaching.ts';
export { hostFolderSpec, hostSpec, workloads } from './settings.ts';
export { openSubscriptions, type Subscriptions } from './subscriptions.ts';
export { openTls } from './tls.ts';
