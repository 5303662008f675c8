import { property, type Property } from '../../platform/audit.ts';
import { stampOf } from '../../net/pf.ts';
import { rulesOf } from '../networks.ts';
import { jailOf } from '../node.ts';
import { pfTrouble } from '../steps/firewall.ts';
import { allowsOf, SECURELEVEL } from '../jail.ts';
import type { Measured } from './measure.ts';

/** Interfaces that the kernel makes in every vnet where a module is loaded; they carry nothing. */
const KERNEL_MADE = /^(pflog|pfsync|enc|ipfw)\d+$/;

/** The jail's parameters are the ones that brig gave, and every `allow.` but vmm(4) is off. */
export const jail = (m: Measured): Property[] => {
  const name = jailOf(m.vm.spec.name);
  const given = m.host.parameters.get(name);
  const how = `jls -n (jail ${name})`;
  const equal = (id: string, what: string, parameter: string, expected: string): Property =>
    property(id, what, expected, given?.get(parameter), how);
  const allowed = given && [...given].filter(([key, value]) => key.startsWith('allow.') && value === 'true');
  const { root } = m.node.layout.vm(m.vm.spec.name);
  return [
    property('jail.process', 'bhyve is in its own jail', name, m.process?.jail, 'ps -ax -o jail'),
    equal('jail.path', 'its root', 'path', root),
    equal('jail.vnet', 'its own network stack', 'vnet', 'new'),
    equal('jail.ruleset', 'its own devfs ruleset', 'devfs_ruleset', String(m.vm.place.uid)),
    equal('jail.children', 'it makes no jails', 'children.max', '0'),
    equal('jail.statfs', 'it sees no mount outside its root', 'enforce_statfs', '2'),
    equal('jail.securelevel', 'it changes nothing of the kernel', 'securelevel', String(SECURELEVEL)),
    property(
      'jail.allow',
      'all that it is allowed',
      allowsOf(m.node, m.vm).sort().join(' '),
      allowed &&
        allowed
          .map(([key]) => key)
          .sort()
          .join(' '),
      how,
    ),
  ];
};

/** What may pass its NICs is what brig wrote, and pf heeds it. */
const rules = (m: Measured): Property[] => {
  const wanted = rulesOf(m.node, m.vm);
  if (!wanted) return [];
  const trouble = pfTrouble(m.host.seen);
  return [
    property(
      'network.filter',
      'pf filters, by the anchors of brig',
      'yes',
      trouble ? trouble.got : 'yes',
      'pfctl -s info',
    ),
    property(
      'network.rules',
      'it sends from its own addresses, and is reached by whom it may be: stamp and number of rules',
      stampOf(wanted.text),
      m.focus.anchors?.get(wanted.anchor) ?? 'none',
      `pfctl -a ${wanted.anchor} -s rules`,
    ),
  ];
};

/** Its vnet has its own interfaces and no other. */
export const network = (m: Measured): Property[] => {
  const { spec, place } = m.vm;
  const moded = place.nics.map((nic, i) => ({ ...nic, index: i, mode: spec.nics[i]?.mode ?? 'vnet' }));
  const inside = moded.filter(({ mode }) => mode === 'vnet');
  const wanted = ['lo0', ...inside.flatMap(({ unit, index }) => [`bridge${index}`, `epair${unit}b`, `tap${unit}`])];
  const found = [...m.focus.inside.keys()].filter((name) => !KERNEL_MADE.test(name));
  const name = jailOf(spec.name);
  return [
    ...rules(m),
    property(
      'network.interfaces',
      'interfaces in its vnet',
      wanted.sort().join(' '),
      found.sort().join(' ') || undefined,
      `ifconfig -j ${name} -a`,
    ),
    ...moded.map(({ unit, mode, network }) => {
      const end = mode === 'vnet' ? `epair${unit}a` : `tap${unit}`;
      const wanted = network.bridge?.name ?? 'no bridge';
      const on = [...m.host.seen.interfaces.values()].find((each) => each.members.includes(end))?.name ?? 'no bridge';
      return property(
        `network.nic.${unit}`,
        `NIC on network ${network.name} (${mode})`,
        `${end} on ${wanted}`,
        `${end} on ${on}`,
        'ifconfig -a',
      );
    }),
    ...moded.map(({ unit, mode }) => {
      const tap = (mode === 'vnet' ? m.focus.inside : m.host.seen.interfaces).get(`tap${unit}`);
      return property(
        `network.tap.${unit}`,
        'its tap is open by bhyve alone',
        String(m.process?.pid ?? 'no process'),
        String(tap?.openedBy ?? 'nobody'),
        `ifconfig tap${unit}`,
      );
    }),
  ];
};
