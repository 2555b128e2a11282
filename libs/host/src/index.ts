export type { Assemble, Assembly, ClientOptions, Reaction, Seams } from './assembly.ts';
export { type Build, readBuild, versionLine } from './build.ts';
export { type HostOptions, type HostSeams, hostService } from './host.ts';
export { enterHostFolder, folderId } from './host-folder.ts';
export {
  type CloudService,
  type InProcessCloud,
  type InProcessCloudOptions,
  inProcessCloud,
  type OwnSeams,
  type Replica,
} from './in-process-cloud.ts';
export type { WorkPartitions } from './partitions/work-partitions.ts';
export { openPeers, type Peers, type PeersOptions } from './peers.ts';
export { publishedStreams } from './published-streams.ts';
export { hostFolderSpec, hostSpec, workloads } from './settings.ts';
export { openSubscriptions, type Subscriptions } from './subscriptions.ts';
