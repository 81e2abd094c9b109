// Follows an execution with each way of following one; what each has seen is in `seen`, for the test.

window.seen = {};
window.subscriptions = {};
window.wasHidden = [document.hidden];
document.addEventListener("visibilitychange", () => window.wasHidden.push(document.hidden));

// As a page imports it: from a script that a WebDriver runs, WebKit asks without an Origin.
const imported = (url) =>
  new Promise((resolve, reject) => {
    const script = document.createElement("script");
    script.type = "module";
    script.textContent = `import * as client from "${url}"; window.imported(client);`;
    script.onerror = reject;
    window.imported = resolve;
    document.head.append(script);
  });

window.follow = async ({ base, swallowing, token, names }) => {
  const { subscribeToExecution } = await imported(`${base}/api/v1/sse/client/index.js`);
  const common = { getToken: () => token, organizationId: "acme" };
  // Only what is connected again quickly is worth a test's time.
  const timing = { connectedWithinMs: 500, pollEveryMs: 200, probeEveryMs: 600_000 };
  const given = {
    fetch: { baseUrl: base },
    "event-source": { baseUrl: base, transport: "event-source" },
    polling: { baseUrl: swallowing, timing },
  };
  for (const name of names) window.seen[name] = [];
  for (const [name, options] of Object.entries(given).filter(([name]) => names.includes(name))) {
    window.subscriptions[name] = subscribeToExecution(`run-${name}`, {
      ...common,
      ...options,
      onEvent: (event) => window.seen[name].push(event.data?.number ?? event.type),
    });
  }
  if (names.includes("native")) {
    window.followExecution(base, "run-native", token, "acme", (event) =>
      window.seen.native.push(event.data?.number ?? event.type),
    );
  }
  if (names.includes("react")) {
    window.show({
      hook: "Options",
      name: "react",
      id: "run-react",
      baseUrl: base,
      token,
      ...common,
    });
  }
};

/** What each has seen, and its connection; React shows the numbers that it has. */
window.look = () => {
  const connections = {};
  for (const name in window.subscriptions) {
    connections[name] = window.subscriptions[name].connection;
  }
  const seen = { ...window.seen };
  if ("react" in seen) {
    const { events, connection } = window.shown.react ?? { events: [], connection: "connecting" };
    connections.react = connection;
    seen.react = events.map(({ type, data }) => data?.number ?? type);
  }
  return { seen, connections };
};
