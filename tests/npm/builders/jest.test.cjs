/* global expect, test */
const { fold, subscribeToExecution } = require("sse-gateway-client");
const { useExecutionStream } = require("sse-gateway-client/react");
const { version } = require("sse-gateway-client/package.json");

test("the package is what it is elsewhere", () => {
  expect(fold([]).status).toBe("pending");
  expect(() => subscribeToExecution("run-1", { token: "t" })).toThrow("baseUrl");
  expect(typeof useExecutionStream).toBe("function");
  expect(version).toMatch(/^\d/);
});
