import { build } from './commands/build.ts';
import { run } from './commands/run.ts';
import { programOfBuild } from './output/pasteable.ts';
import { openTerminal } from './output/terminal.ts';

// Of no use to whoever types a command; grpc-js sends the address as the server's name and Node says so each time.
process.noDeprecation = true;
const exitCode = await run(
  process.argv.slice(2),
  process.env,
  openTerminal(),
  programOfBuild(build, process.argv[1] ?? ''),
);
// Connections to a service that does not answer would keep the process for their own timeouts.
process.exit(exitCode);
