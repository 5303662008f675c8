import { expect, test } from 'vitest';
import { tellStory } from '../story.ts';

if (process.getuid?.() === 0) tellStory({ accel: 'tcg' });
else test('real VMs on Linux need root', () => expect(process.getuid?.(), 'run the tests as root').toBe(0));
