export { type Credentials, type People, type SimulatedSettings, simulatedSettings } from './cloud/deployment.ts';
export { type Part, parts } from './cloud/parts.ts';
export {
  type Committed,
  createSimulatedCloud,
  type SimulatedCloud,
  type SimulatedCloudOptions,
} from './cloud/simulated-cloud.ts';
export type { FaultControl } from './faults/fault-control.ts';
export type { CallFaults, FaultRates, StoreFaults, VolumeFaults } from './faults/fault-rates.ts';
