// What the package exports and what its types declare is the same: the compiler compares the lists
// here with the types, and Node with the modules.

import * as client from "sse-gateway-client";
import * as react from "sse-gateway-client/react";

type Declared<Module> = Record<keyof Module, true>;

const declared: [object, object][] = [
  [
    client,
    {
      fold: true,
      Refused: true,
      subscribeToExecution: true,
      TERMINAL_TYPES: true,
    } satisfies Declared<typeof client>,
  ],
  [react, { useExecutionStream: true } satisfies Declared<typeof react>],
];

for (const [module, names] of declared) {
  const [exported, known] = [module, names].map((one) => Object.keys(one).sort().join());
  if (exported !== known) throw new Error(`It exports ${exported}, and declares ${known}.`);
}
