import type { Experiment } from '@interlock/lab';
import { takeOrders } from '../../simulation/runs/take-orders.ts';
import { playExperiment } from './play-experiment.ts';

takeOrders((seed, experiment: Experiment) => playExperiment(experiment, seed));
