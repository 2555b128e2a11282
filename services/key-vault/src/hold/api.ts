import type {
  ConfirmKeyStatesRequest,
  ConfirmKeyStatesResponse,
  GetHoldResponse,
  Hold as WireHold,
} from '@interlock/contracts/interlock/key_vault/v1/hold.ts';
import type { Call } from '@interlock/rpc';
import type { Hold, Holding } from './holding.ts';

/** The hold, for operators: request in, answer out. */
export const holdApi = ({ holding }: { readonly holding: Holding }) => {
  const answer = () => ({ hold: onWire(holding.current()) });
  return {
    getHold: async (): Promise<GetHoldResponse> => answer(),
    async confirmKeyStates({ holdId }: ConfirmKeyStatesRequest, call: Call): Promise<ConfirmKeyStatesResponse> {
      await holding.confirm(holdId, call.cause);
      return answer();
    },
  };
};

const onWire = (hold: Hold | undefined): WireHold | undefined =>
  hold && {
    holdId: hold.id,
    reason: hold.reason,
    startTime: new Date(hold.since),
    position: hold.position,
    knownPosition: hold.knownPosition,
  };
