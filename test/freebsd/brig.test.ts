import { expect, test } from 'vitest';
import { isFreebsd } from '../demo/stage.ts';
import { tellStory } from '../story.ts';

if (isFreebsd && process.getuid?.() === 0) tellStory();
else
  test('bhyve needs FreeBSD and root', () =>
    expect([isFreebsd, process.getuid?.()], 'run this on FreeBSD as root').toEqual([true, 0]));
