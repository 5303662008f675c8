import { renderAge } from '../base/units.ts';
import type { LeaseView, NetworkDetail, NetworkView } from '../platform/networks.ts';
import { renderRows, renderTable } from './render.ts';

export const renderNetworks = (networks: readonly NetworkView[]): string => {
  const head = ['NAME', 'KIND', 'STATE', 'INTERFACE', 'GROUP', 'SUBNETS', 'VMS'];
  const rows = networks.map((each) => [
    ...[each.name, each.kind, each.state, each.interface ?? '-', each.group],
    each.subnets.map(({ cidr }) => cidr).join(',') || '-',
    String(each.vms.length),
  ]);
  return renderTable(head, rows);
};

export const renderNetwork = (network: NetworkDetail): string => {
  const lines: [string, string][] = [
    ['name', network.name],
    ['kind', network.kind],
    ['state', network.state],
    ['group', network.group],
    ...(network.interface === undefined ? [] : [['interface', network.interface] as [string, string]]),
    ...(network.mtu === undefined ? [] : [['mtu', String(network.mtu)] as [string, string]]),
    ['persistent', network.persistent ? 'yes' : 'no'],
    ['isolation', network.isolation],
    ...network.subnets.map(({ cidr, gateway, size, free }): [string, string] => [
      'subnet',
      `${cidr}${gateway === undefined ? '' : ` gateway ${gateway}`}, ${free} of ${size} free`,
    ]),
    ['VMs', network.vms.join(', ') || 'none'],
    ...network.jails.map(({ jail, state, addresses, reason }): [string, string] => [
      `jail ${jail}`,
      [state, ...addresses, ...(reason === undefined ? [] : [`(${reason})`])].join(' '),
    ]),
    ...Object.entries(network.labels).map(([key, value]): [string, string] => [`label ${key}`, value]),
    ...network.faults.map(({ because, reason }): [string, string] => ['fault', `${because}: ${reason}`]),
  ];
  return renderRows(lines).join('\n');
};

export const renderLeases = (leases: readonly LeaseView[], nowMs: number): string => {
  const rows = leases.map(({ address, holder, nic, mac = '-', kind, sinceMs }) => [
    ...[address, holder, String(nic), mac, kind, renderAge(nowMs - sinceMs)],
  ]);
  return renderTable(['ADDRESS', 'HOLDER', 'NIC', 'MAC', 'KIND', 'AGE'], rows);
};
