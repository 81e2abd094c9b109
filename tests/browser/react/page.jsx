// A React application whose components follow executions, each with the hook that it is told to use.
// What each of them shows last is kept in `shown`, for the test to look at.

import { memo, StrictMode, useEffect } from "react";
import { createRoot } from "react-dom/client";
import { useExecutionStream } from "sse-gateway-client/react";

import { useEventSource } from "./native.js";

const root = createRoot(document.getElementById("root"));
window.shown = {};
// Of every render: who, of which execution and organization, and the numbers of the events shown.
window.renders = [];
// The tokens that were handed out, and by which component.
window.asked = [];

window.numbersOf = ({ events }) =>
  events.map((event) => (event.data?.data ?? event.data)?.number).filter((number) => number);

function Show({ name, about, value }) {
  renders.push([name, about, numbersOf(value)]);
  useEffect(() => {
    shown[name] = value;
    return () => delete shown[name];
  });
  return <p>{value.status}</p>;
}

function Options({ name, id, token, ...options }) {
  // Another function each time that it renders, as people write it.
  const getToken = () => {
    asked.push([name, token]);
    return token;
  };
  const value = useExecutionStream(id, { ...options, getToken });
  return <Show name={name} about={[id, options.organizationId]} value={value} />;
}

function Documents({ name, id, given }) {
  return <Show name={name} about={[id, given[1]]} value={useExecutionStream(id, ...given)} />;
}

function Native({ name, url }) {
  return <Show name={name} about={[url]} value={useEventSource(url)} />;
}

// `Quiet` renders anew only with other options.
const HOOKS = { Options, Quiet: memo(Options), Documents, Native };

/** Show these components and no others. */
window.show = (...components) => {
  const all = components.map(({ hook, ...given }) => {
    const Component = HOOKS[hook];
    return <Component key={given.name} {...given} />;
  });
  root.render(<StrictMode>{all}</StrictMode>);
};
