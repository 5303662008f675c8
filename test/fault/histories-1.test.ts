import { testHistories } from './histories.ts';

testHistories(1, 3_000);
