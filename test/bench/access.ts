/** What a decision costs, however many rules there are. */
import { compile, decide, type Grant, type Target } from '../../src/acl/policy.ts';
import type { Verb } from '../../src/acl/roles.ts';

const ROUNDS = 200_000;

/** All for one principal and its groups: the worst that rules can be. */
const rulesOf = (count: number): Grant[] =>
  Array.from({ length: count }, (_, i) => ({
    principal: ['user:alice', 'group:ops', 'group:staff'][i % 3] ?? '',
    ...{ role: ['viewer', 'operator', 'power,console'][i % 3] ?? '', object: `vm:v${i}`, by: 'root', createdMs: i },
  }));

/** Units: microseconds for each decision, half of them a no. */
export const decideCost = (rules: number): number => {
  const policy = compile(rulesOf(rules));
  const who = { id: 'user:alice', isRoot: false, subjects: ['user:alice', 'group:ops', 'group:staff'], owner: 'alice' };
  const labels = { tenant: 'acme', stage: 'test' };
  const targets: Target[] = Array.from({ length: 1_000 }, (_, i) => ({ kind: 'vm', name: `v${i * 20}`, labels }));
  const verbs: Verb[] = ['view', 'power', 'destroy'];
  let allowed = 0;
  const startMs = performance.now();
  for (let i = 0; i < ROUNDS; i++) {
    const target = targets[i % targets.length];
    const verb = verbs[i % verbs.length];
    if (target && verb && decide(policy, who, verb, target).allow) allowed++;
  }
  const us = ((performance.now() - startMs) * 1000) / ROUNDS;
  if (allowed === 0 || allowed === ROUNDS) throw new Error(`expected some decisions of each kind, got ${allowed}`);
  return us;
};
