import { describe, expect, test } from 'vitest';
import { NOT_COVERED } from './not-covered.ts';
import { replay } from './replay.ts';
import { SESSIONS } from './sessions.ts';

describe.each(SESSIONS)('$file', (session) => {
  test('is answered as FreeBSD answered', async () => {
    const { compared, notCovered } = await replay(session);
    expect(compared.map(({ command, got }) => `$ ${command}\n${got}`)).toEqual(
      compared.map(({ command, wanted }) => `$ ${command}\n${wanted}`),
    );
    expect(notCovered).toEqual(NOT_COVERED[session.file]);
  });
});
