// For the compiler alone: what the modules are must fit what their declarations promise. An import of
// a module gives its declaration, so tsconfig.json names the modules themselves `implementation`.

import type * as declared from "../../gateway/client/index.js";
import type * as declaredExecutions from "../../gateway/client/executions.js";
import type * as declaredReact from "../../gateway/client/react.js";
import type * as declaredReactExecutions from "../../gateway/client/react-executions.js";
import type {
  ExecutionStream,
  LegacyExecutionStream,
  StreamOptions,
} from "../../gateway/client/react.js";
import * as client from "implementation";
import * as executions from "implementation/executions";
import * as react from "implementation/react";
import * as reactExecutions from "implementation/react-executions";

// People get these errors, and make none: their constructors are not declared.
client satisfies Omit<typeof declared, "Refused" | "StreamError">;
export const failed = (error: client.StreamError): declared.StreamError => error;
export const refused = (error: client.Refused): declared.Refused => error;

executions.subscribeToExecutions satisfies typeof declaredExecutions.subscribeToExecutions;
reactExecutions satisfies Pick<
  typeof declaredReactExecutions,
  "subscribeToExecutions" | "useExecutions" | "useExecutionSet"
>;

// Which of the two each form returns, the compiler cannot know: browsers test it.
type Stream = ExecutionStream | LegacyExecutionStream;
react satisfies Record<keyof typeof declaredReact, unknown>;
react.useExecutionStream satisfies (id: string | null, options: StreamOptions) => Stream;
react.useExecutionStream satisfies (
  id: string | null,
  token: string,
  organizationId: string,
  options?: StreamOptions,
) => Stream;
