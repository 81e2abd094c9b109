// The user's session: in development the gateway gives out tokens, elsewhere the user enters one.

import { byId, field } from "./dom.js";
import { problemOf, TEXTS } from "./texts.js";

/** @typedef {{ getToken: () => string | Promise<string>, organizationId: string, isDev: boolean,
 *   hasEngine: boolean }} Session */
/** @typedef {{ token: string, organization: string }} Given */

const KEPT = "executions-live";
const WHY = "executions-live-problem";
const RUNS = "/api/v1/workflows/-/runs/";

/**
 * The session, when it is known.
 * @returns {Promise<Session>}
 */
export async function begin() {
  const response = await fetch("/dev/session").catch(() => null);
  if (response?.ok) return development(await response.json());
  return signedIn(await credentials());
}

/**
 * @param {{ organization_id: string, engine: boolean }} session
 * @returns {Session}
 */
function development({ organization_id: organizationId, engine: hasEngine }) {
  const getToken = async () => (await (await fetch("/dev/session")).json()).token;
  return { getToken, organizationId, isDev: true, hasEngine };
}

/**
 * @param {Given} given
 * @returns {Session}
 */
const signedIn = ({ token, organization }) => ({
  getToken: () => token,
  organizationId: organization,
  isDev: false,
  hasEngine: false,
});

/**
 * Forget the entered token: another user wants to sign in, or it is not valid any more.
 * @param {string} why is shown above the form
 */
export function signOut(why = "") {
  sessionStorage.removeItem(KEPT);
  sessionStorage.setItem(WHY, why);
  location.reload();
}

/** @returns {Given | Promise<Given>} */
function credentials() {
  const kept = sessionStorage.getItem(KEPT);
  if (kept !== null) return JSON.parse(kept);
  const form = byId("sign-in");
  form.hidden = false;
  byId("connection").hidden = true;
  byId("sign-in-problem").textContent = sessionStorage.getItem(WHY);
  byId("token").focus();
  return new Promise((resolve) => {
    form.addEventListener("submit", async (event) => {
      event.preventDefault();
      const given = {
        token: field("token").value.trim(),
        organization: field("organization").value.trim(),
      };
      const problem = await refusal(given);
      byId("sign-in-problem").textContent = problem;
      if (problem) return;
      // Only this tab sees it, and closing the tab removes it.
      sessionStorage.setItem(KEPT, JSON.stringify(given));
      form.hidden = true;
      byId("connection").hidden = false;
      resolve(given);
    });
  });
}

/** @param {Given} given */
const headersOf = ({ token, organization }) => ({
  Authorization: `Bearer ${token}`,
  "X-Organization-ID": organization,
});

/** @param {Given} given
 * @param {string} id */
const askFor = (given, id) => fetch(RUNS + encodeURIComponent(id), { headers: headersOf(given) });

/** @param {Given} given */
const listFor = (given) =>
  fetch(`/api/v1/organizations/${encodeURIComponent(given.organization)}/executions?limit=1`, {
    headers: headersOf(given),
  });

/** Whether there is an event of this execution; yes where the gateway does not answer.
 * @param {Session} session
 * @param {string} id */
export async function isKept({ getToken, organizationId: organization }, id) {
  try {
    const response = await askFor({ token: await getToken(), organization }, id);
    return !response.ok || (await response.json()).last_event_id !== null;
  } catch {
    return true;
  }
}

/** Why the gateway does not take this token; empty if it does.
 * @param {Given} given */
async function refusal(given) {
  try {
    let response = await listFor(given);
    // Without lists any run will do: whether it exists is not asked.
    if (response.status === 404) response = await askFor(given, "sign-in");
    // 404: the token is good, and there is no such execution.
    if (response.ok || response.status === 404) return "";
    return problemOf(await response.json());
  } catch (error) {
    // A header takes no such character.
    if (error instanceof TypeError && /header|ISO-8859|ByteString/i.test(error.message)) {
      return TEXTS.badCharacter;
    }
    return TEXTS.noAnswer;
  }
}
