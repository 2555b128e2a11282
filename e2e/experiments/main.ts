import { runCommand } from '@interlock/local/command.ts';
import { experimentCommand } from './command.ts';

runCommand((scope) => experimentCommand(process.argv.slice(2), scope));
