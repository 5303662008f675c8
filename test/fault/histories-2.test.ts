import { testHistories } from './histories.ts';

// A file of its own, so that both halves run at once.
testHistories(2_001, 4_000);
