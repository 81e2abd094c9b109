// What an application does that follows an execution with the browser's own EventSource. It only
// keeps what it sees, in `followed`, for the test to look at.

const PASSING = [
  "connected",
  "heartbeat",
  "step:started",
  "step:completed",
  "step:failed",
  "execution:paused",
  "stream:closing",
];
const LAST = ["execution:completed", "execution:failed"];

let followed = null;

function follow(url) {
  const source = new EventSource(url);
  followed = { source, events: [], errors: 0 };
  const keep = ({ type, data }) => followed.events.push({ type, document: JSON.parse(data) });
  for (const type of PASSING) source.addEventListener(type, keep);
  for (const type of LAST) {
    source.addEventListener(type, (event) => {
      keep(event);
      source.close();
    });
  }
  // Not closed here: the browser comes back by itself, unless the answer was no.
  source.addEventListener("error", () => (followed.errors += 1));
}
