/** The library under brig(1) and brigd(8). What is exported here is stable and documented; nothing else is. */
export { BrigError, exitStatusOf, type ErrorBody, type ErrorCode, type Retry } from './base/errors.ts';
export type { Access, Command, ConsolePort, Effect, FileStat, Host, Result, Until } from './base/host.ts';
export type { Action, Catalogue, Holds, Repair, Step, StepDef } from './base/step.ts';
export { parseVm, parseVmText, type VmSpec } from './spec/vm.ts';
export { parseConfig, type Config } from './spec/config.ts';
export type { Finding, Live, Platform, Vm } from './platform/platform.ts';
export { renderExit, toExit, type Exit } from './platform/exit.ts';
export { Engine, type EngineOptions } from './engine/engine.ts';
export type { Outcome, Request } from './engine/request.ts';
export type { PlanLine } from './engine/changes.ts';
export type { Difference } from './engine/repair.ts';
export type { Explanation } from './engine/explain.ts';
export type { State, VmView } from './engine/view.ts';
export { Store, type EventRow, type FindingRow, type LastEnd, type Trouble, type VmRow } from './store/store.ts';
export { Client, type OperationListener } from './api/client.ts';
export { startDaemon, type Daemon, type DaemonOptions } from './daemon/daemon.ts';
export type { BaseReport, Bases, BaseView } from './platform/bases.ts';
export { chooseHost } from './daemon/host.ts';
