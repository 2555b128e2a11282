import { variableOf } from '@interlock/runtime';
import { launcherAt } from './control.ts';
import { type TestControl, type TestParts, testControls } from './routes.ts';

/** Settings of the test controls. */
interface TestingSettings {
  readonly gatewayTestRoutes: string | undefined;
  readonly gatewayControlSocket: string | undefined;
}

/** Reads what clients may do in a test. @throws Error for a name that does not exist, or without the launcher that they need */
export const testingOf = ({
  gatewayTestRoutes,
  gatewayControlSocket,
}: TestingSettings): Pick<TestParts, 'enabled' | 'launcher'> => {
  const names = (gatewayTestRoutes ?? '').split(',').filter((name) => name !== '');
  const setting = variableOf('gatewayTestRoutes');
  const enabled = names.map((name): TestControl => {
    const found = testControls.find((one) => one === name);
    if (found === undefined) throw new Error(`${setting} has only ${testControls.join(', ')} (got "${name}")`);
    return found;
  });
  if (enabled.length > 0 && gatewayControlSocket === undefined)
    throw new Error(`${setting} needs ${variableOf('gatewayControlSocket')}`);
  const launcher = gatewayControlSocket === undefined ? undefined : launcherAt(gatewayControlSocket);
  return { enabled: new Set(enabled), launcher };
};
