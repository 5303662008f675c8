import type { Access, Effect, Until } from '../base/host.ts';
import { renderRef } from '../base/secret.ts';
import { renderBytes } from '../base/units.ts';
import { renderCommand } from './perform.ts';

const owner = (access: Access): string =>
  `-m ${access.mode.toString(8).padStart(4, '0')} -o ${access.uid} -g ${access.gid}`;

const renderUntil = (until: Until): string => {
  if ('status' in until) return `exits ${until.status}`;
  return 'matches' in until ? `prints /${until.matches}/` : `no longer prints /${until.lacks}/`;
};

/** Which secrets go into a file. */
const filledIn = ({ secrets = [] }: Effect & { do: 'write' }): string =>
  secrets.length === 0 ? '' : `, filled in: ${secrets.map(renderRef).join(', ')}`;

/** The lines of an effect in a plan: what a person would type, or say, to do the same. */
export const renderEffect = (effect: Effect): string[] => {
  switch (effect.do) {
    case 'run':
      return effect.command.stdin === undefined
        ? [renderCommand(effect.command)]
        : [`${renderCommand(effect.command)} <<.`, ...effect.command.stdin.trimEnd().split('\n'), '.'];
    case 'write':
      if (effect.isSecret)
        return [
          `install ${owner(effect.access)} /dev/stdin ${effect.path} # ${effect.text.length} characters, not shown${filledIn(effect)}`,
        ];
      return [
        `install ${owner(effect.access)} /dev/stdin ${effect.path} <<.`,
        ...effect.text.trimEnd().split('\n'),
        '.',
      ];
    case 'copy':
      return [`install ${owner(effect.access)} ${effect.from} ${effect.to}`];
    case 'allocate':
    case 'grow':
      return [`truncate -s ${renderBytes(effect.bytes)} ${effect.path}`];
    case 'mkdir':
      return [`install -d ${owner(effect.access)} ${effect.path}`];
    case 'remove':
      return [`rm -rf ${effect.path}`];
    case 'rmdir':
      return [`rmdir ${effect.path}`];
    case 'set':
    case 'say':
      return [`echo '${effect.text.trimEnd()}' > ${effect.path}`];
    case 'spawn':
      return [`${renderCommand(effect.command)} &`];
    case 'await':
      return [
        `until ${'read' in effect.probe ? `/bin/cat ${effect.probe.read}` : renderCommand(effect.probe)} # ${renderUntil(effect.until)}, at most ${effect.timeoutMs / 1000} s`,
      ];
    case 'absent':
      return [`while test -e ${effect.path} # at most ${effect.timeoutMs / 1000} s`];
    case 'escalate':
      return effect.stages.flatMap((stage) =>
        renderEffect(stage.effect).map((line) => `${line} # ${stage.name}, then wait ${stage.waitMs / 1000} s`),
      );
  }
};
