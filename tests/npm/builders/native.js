import { fold } from "sse-gateway-client";
import { useExecutionStream } from "sse-gateway-client/react";

globalThis.result = [fold([]).status, typeof useExecutionStream];
