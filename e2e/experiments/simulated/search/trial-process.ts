import type { Trial } from '@interlock/lab';
import { takeOrders } from '../../../simulation/runs/take-orders.ts';
import { playTrial } from './play-trial.ts';

takeOrders((seed, trial: Trial) => playTrial({ ...trial, seed }));
