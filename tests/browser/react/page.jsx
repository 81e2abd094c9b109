// A React application whose components follow executions, each with the hook that the test chooses.
// What each of them showed last is in `shown`, for the test.

import { memo, StrictMode, useEffect } from "react";
import { createRoot } from "react-dom/client";
import {
  useExecutions,
  useExecutionSet,
  useExecutionStream,
} from "sse-gateway-client/react-executions";

import { useEventSource } from "./native.js";

const root = createRoot(document.getElementById("root"));
window.shown = {};
// Of every render: the component, its execution and organization, and the numbers of its events.
window.renders = [];
// Which component returned which token.
window.asked = [];

window.numbersOf = ({ events }) =>
  events.map((event) => (event.data?.data ?? event.data)?.number).filter((number) => number);

function Show({ name, about, value }) {
  window.renders.push([name, about, window.numbersOf(value)]);
  useEffect(() => {
    window.shown[name] = value;
    return () => delete window.shown[name];
  });
  return <p>{value.status}</p>;
}

function Options({ name, id, token, ...options }) {
  // Another function each time that it renders, as people write it.
  const getToken = () => {
    window.asked.push([name, token]);
    return token;
  };
  const value = useExecutionStream(id, { ...options, getToken });
  return <Show name={name} about={[id, options.organizationId]} value={value} />;
}

function Legacy({ name, id, given }) {
  return <Show name={name} about={[id, given[1]]} value={useExecutionStream(id, ...given)} />;
}

// By a name, and as a new list each time that it renders, as people write it.
function List({ name, token, ...options }) {
  window.shown[name] = useExecutions({ ...options, getToken: () => token });
  return <p>{window.shown[name].executions?.length ?? "loading"}</p>;
}

function Several({ name, ids, token, ...options }) {
  window.shown[name] = useExecutionSet(ids && [...ids], { ...options, getToken: () => token });
  return <p>{window.shown[name].executions.length}</p>;
}

function Native({ name, url }) {
  return <Show name={name} about={[url]} value={useEventSource(url)} />;
}

// `Quiet` renders again only with other options.
const HOOKS = { Options, Quiet: memo(Options), Legacy, List, Several, Native };

/** Show these components and no others. */
window.show = (...components) => {
  const all = components.map(({ hook, ...given }) => {
    const Component = HOOKS[hook];
    return <Component key={given.name} {...given} />;
  });
  root.render(<StrictMode>{all}</StrictMode>);
};
