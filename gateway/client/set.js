// Several runs that a page follows on one stream; on several where they are more than one takes.

import { apart } from "./apart.js";
import { Connection } from "./connection.js";
import { Credentials } from "./credentials.js";
import { RunDocuments } from "./documents.js";
import { Followed, safely } from "./followed.js";
import { documentsOf, Member, SetState } from "./set_state.js";
import { runUrl, typesOf } from "./subscription.js";
import { Together } from "./together.js";

/** @import { About } from "./followed.js" */
/** @import { SetOptions, SetSnapshot, SetSubscription } from "./executions.js" */

// As many as the gateway takes on one stream.
const MOST = 50;
const TYPES = ["stream:ended", "stream:absent"];
const ALONE = "tabs share no streams of several executions";

/**
 * @param {SetOptions & { baseUrl: string }} options
 * @returns {SetSubscription}
 */
export function setOf(options) {
  const ids = [...new Set(options.executionIds)];
  const members = ids.map((id) => new Member(id, options.terminalTypes));
  /** @type {Followed<SetSnapshot>} */
  const own = new Followed(about(options, new SetState(members)));
  return own.outside({ executionIds: Object.freeze(ids) }, "executions");
}

/**
 * @param {SetOptions & { baseUrl: string }} options
 * @param {SetState} state
 * @returns {About<SetSnapshot>}
 */
const about = (options, state) => ({
  options,
  state,
  connect: (changed) => connect(options, state.members, changed),
  notify(own) {
    for (const one of state.members) {
      const { events } = one.run;
      while (one.notified < events.length && !own.isClosed) {
        const event = events[one.notified++];
        safely(() => options.onEvent?.(event, one.id));
      }
    }
  },
  complete(own) {
    for (const one of state.members) {
      if (one.run.ending === null || one.hasCompleted || own.isClosed) continue;
      one.hasCompleted = true;
      safely(() => options.onComplete?.(one.run.run, one.id));
    }
  },
  show: () => ({ executions: state.executions }),
});

/**
 * @param {SetOptions & { baseUrl: string }} options
 * @param {Member[]} members
 * @param {() => void} changed
 */
function connect(options, members, changed) {
  const credentials = new Credentials(options);
  const closed = new AbortController();
  const connections = [];
  for (let first = 0; first < members.length; first += MOST) {
    connections.push(partOf(options, members.slice(first, first + MOST), credentials, onChange));
  }
  /** @type {Map<Member, Promise<void>>} */
  const settling = new Map();
  function onChange() {
    for (const one of members) {
      const isOwed = one.endedAs !== null && one.run.ending === null && !settling.has(one);
      if (isOwed) settling.set(one, settle(one, credentials, closed.signal).then(changed));
    }
    changed();
  }
  return new Together(connections, {
    end: () => closed.abort(),
    rest: () => Promise.all(settling.values()),
  });
}

/**
 * @param {SetOptions & { baseUrl: string }} options
 * @param {Member[]} members
 * @param {Credentials} credentials
 * @param {() => void} changed
 */
function partOf(options, members, credentials, changed) {
  const state = new SetState(members);
  const ids = members.map(({ id }) => id);
  // An id may have colons, which need no escape: it would make the address too long.
  const query = ids.map((id) => `execution_id=${encodeURIComponent(id).replaceAll("%3A", ":")}`);
  return new Connection({
    url: `${options.baseUrl}/api/v1/sse/executions/stream?${query.join("&")}`,
    open: apart(options, ALONE, { execution_ids: ids }),
    documents: (fetch) => {
      for (const one of members) {
        one.documents = new RunDocuments(runUrl(one.id, options), fetch, one.run);
      }
      return documentsOf(state);
    },
    credentials,
    state,
    types: [...typesOf(options), ...TYPES],
    options,
    changed,
  });
}

/** It had ended before, and no stream shows how: its document knows more.
 * @param {Member} member
 * @param {Credentials} credentials
 * @param {AbortSignal} signal */
async function settle({ run, documents, endedAs }, credentials, signal) {
  try {
    const headers = await credentials.headers(signal);
    await documents?.takeOver(headers, signal, endedAs);
  } catch {
    if (!signal.aborted) run.takeOver({ status: endedAs ?? "ended" });
  }
}
