// An application that follows an execution with the browser's own EventSource. It only keeps what it
// sees, in `followed`, for the test.

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

// eslint-disable-next-line no-unused-vars -- Tests call it.
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
    // By default it is not closed: the browser connects again, unless the request was refused.
    if (closesAtError) source.close();
  });
}
