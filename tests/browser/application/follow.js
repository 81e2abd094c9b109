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

function follow(url, { closesAtError = false } = {}) {
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
  source.addEventListener("error", () => {
    followed.errors += 1;
    // Not closed as a rule: the browser comes back by itself, unless the answer was no.
    if (closesAtError) source.close();
  });
}
