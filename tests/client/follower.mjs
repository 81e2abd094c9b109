// A page's subscription, with what its callbacks received.

import { subscribeToExecution } from "../../gateway/client/index.js";

export function follow(baseUrl, options = {}) {
  const statuses = [];
  const seen = [];
  const errors = [];
  const subscription = subscribeToExecution("run-1", {
    baseUrl,
    getToken: () => "token",
    organizationId: "acme",
    onEvent: (event) => seen.push(event.id ?? event.type),
    onStatus: (status, { error }) => {
      if (statuses.at(-1) !== status) statuses.push(status);
      if (error) errors.push(error);
    },
    ...options,
  });
  return { subscription, statuses, seen, errors };
}
