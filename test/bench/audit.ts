import { World } from '../sim/world.ts';

/** What an audit of many VMs costs: this machine's time without the model's clock, and processes of the host. */
export const auditCost = async (vms: number): Promise<{ seconds: number; processes: number; passes: boolean }> => {
  const world = await new World({ cpus: 16 }).prepare();
  for (let i = 0; i < vms; i++) {
    const name = `vm${i}`;
    await world.create({ name });
    await world.engine.start(name, { cause: 'operator' });
  }
  const [startMs, before] = [performance.now(), world.model.commands];
  const audits = await world.audit();
  const result = {
    seconds: (performance.now() - startMs) / 1000,
    processes: world.model.commands - before,
    passes: audits.length === vms && audits.every((audit) => audit.passes),
  };
  world.close();
  return result;
};
