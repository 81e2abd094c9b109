// What the package exports and what its types declare is the same: the compiler compares the lists
// here with the types, and Node with the modules.

import * as client from "sse-gateway-client";
import * as executions from "sse-gateway-client/executions";
import * as react from "sse-gateway-client/react";
import * as reactExecutions from "sse-gateway-client/react-executions";

type Declared<Module> = Record<keyof Module, true>;

const core = {
  fold: true,
  Refused: true,
  StreamError: true,
  subscribeToExecution: true,
  TERMINAL_TYPES: true,
  Unauthorized: true,
} as const;
const hook = { subscribeToExecution: true, useExecutionStream: true } as const;
const more = { subscribeToExecutions: true } as const;
const hooks = { useExecutions: true, useExecutionSet: true } as const;

const declared: [object, object][] = [
  [client, core satisfies Declared<typeof client>],
  [executions, { ...core, ...more } satisfies Declared<typeof executions>],
  [react, hook satisfies Declared<typeof react>],
  [reactExecutions, { ...hook, ...hooks, ...more } satisfies Declared<typeof reactExecutions>],
];

for (const [module, names] of declared) {
  const [exported, known] = [module, names].map((one) => Object.keys(one).sort().join());
  if (exported !== known) throw new Error(`It exports ${exported}, and declares ${known}.`);
}
