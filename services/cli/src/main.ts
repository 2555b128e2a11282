import { build } from './commands/build.ts';
import { run } from './commands/run.ts';
import { programOfBuild } from './output/pasteable.ts';
import { openTerminal } from './output/terminal.ts';

// grpc-js sends an address as the server name; Node warns each time.
process.noDeprecation = true;
const exitCode = await run(
  process.argv.slice(2),
  process.env,
  openTerminal(),
  programOfBuild(build, process.argv[1] ?? ''),
);
// Connections to a service that does not respond would keep the process alive until their own timeouts.
process.exit(exitCode);
