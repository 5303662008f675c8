import type { Audit, Exposure, Property } from '../platform/audit.ts';
import { paint, table, type Style } from './render.ts';

const VERDICT: Record<Property['verdict'], Style> = { holds: 'green', broken: 'red', unmeasured: 'red' };

const renderProperty = (each: Property): string[] => [
  each.verdict,
  each.id,
  each.verdict === 'holds' ? each.measured : `expected ${each.expected}, measured ${each.measured} (${each.how})`,
];

const contained = ({ fixed, fixedIn, containedBy }: Exposure): string => {
  const walls = containedBy.length === 0 ? 'nothing contains it' : `contained by ${containedBy.join(', ')}`;
  return fixed === true
    ? `fixed since ${fixedIn}; ${walls}`
    : `fix ${fixedIn === 'unknown' ? 'unknown' : `in ${fixedIn}`}; ${walls}`;
};

const renderExposure = (each: Exposure): string[] => [
  each.verdict,
  each.id,
  `${each.what} (${each.device}): ${contained(each)}`,
];

/** A line for each property and advisory, or only for those that do not hold; the sum comes first. */
export const renderAudit = (audit: Audit, all: boolean): string => {
  const rows = [
    ...audit.properties.map((each) => [each, renderProperty(each)] as const),
    ...audit.advisories.map((each) => [each, renderExposure(each)] as const),
  ];
  const shown = rows.filter(([each]) => all || each.verdict !== 'holds');
  const cells = table(shown.map(([, row]) => row));
  const holding = rows.filter(([each]) => each.verdict === 'holds').length;
  const head = `${audit.vm}: ${audit.passes ? paint('green', 'holds') : paint('red', 'does not hold')}: ${holding} of ${rows.length} measured as expected`;
  return [
    head,
    ...(audit.downgraded === undefined ? [] : [`  ${paint('red', 'downgraded')}: yes, ${audit.downgraded}`]),
    ...(audit.unconfined ? [`  ${paint('red', 'unconfined')}: yes, its document says so`] : []),
    ...cells.map(
      (row, i) => `  ${paint(VERDICT[shown[i]?.[0].verdict ?? 'broken'], row[0] ?? '')}  ${row.slice(1).join('  ')}`,
    ),
  ].join('\n');
};
