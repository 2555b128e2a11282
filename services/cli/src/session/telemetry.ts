// A module of its own, so that a bundle loads the SDK of OpenTelemetry only where spans go somewhere.
export { startTelemetry } from '@interlock/runtime';
