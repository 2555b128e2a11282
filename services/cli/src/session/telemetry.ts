// A module of its own, so that a bundle loads the SDK of OpenTelemetry only if spans are exported.
export { startTelemetry } from '@interlock/runtime';
