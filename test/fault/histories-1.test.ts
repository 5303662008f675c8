import { testHistories } from './histories.ts';

testHistories(1, 5_000);
