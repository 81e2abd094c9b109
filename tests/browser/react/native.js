// A hook as people write it without this package, on the browser's EventSource: a listener for each
// type, its own state, closed at the end and at the first error.

import { useEffect, useReducer } from "react";

const PASSING = ["step:started", "step:completed", "step:failed", "execution:paused"];
const LAST = { "execution:completed": "completed", "execution:failed": "failed" };
const NOTHING_YET = { events: [], status: "disconnected", error: null };

function reduce(state, { status = state.status, event, error = state.error, isNew }) {
  const events = event ? [...state.events, event] : state.events;
  return isNew ? { ...NOTHING_YET, status } : { events, status, error };
}

export function useEventSource(url) {
  const [state, dispatch] = useReducer(reduce, NOTHING_YET);
  useEffect(() => {
    if (!url) return undefined;
    dispatch({ isNew: true, status: "connecting" });
    const source = new EventSource(url);
    const listen = (type, heard) => source.addEventListener(type, heard);
    const read = ({ type, data }) => {
      const envelope = JSON.parse(data);
      return { type, data: envelope, timestamp: envelope.timestamp };
    };
    listen("connected", () => dispatch({ status: "connected" }));
    for (const type of PASSING) listen(type, (message) => dispatch({ event: read(message) }));
    for (const [type, status] of Object.entries(LAST)) {
      listen(type, (message) => {
        const event = read(message);
        dispatch({ event, status, error: event.data.data.error_message });
        source.close();
      });
    }
    source.onerror = () => {
      dispatch({ status: "disconnected" });
      source.close();
    };
    return () => source.close();
  }, [url]);
  return state;
}
