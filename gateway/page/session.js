// The user's session: in development the gateway gives out tokens, elsewhere the user enters one.

import { byId, field } from "./dom.js";

/** @typedef {{ getToken: () => string | Promise<string>, organizationId: string, isDev: boolean }}
 *   Session */
/** @typedef {{ token: string, organization: string }} Given */

const KEPT = "executions-live";

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
 * @param {{ organization_id: string }} session
 * @returns {Session}
 */
function development({ organization_id: organizationId }) {
  const getToken = async () => (await (await fetch("/dev/session")).json()).token;
  return { getToken, organizationId, isDev: true };
}

/**
 * @param {Given} given
 * @returns {Session}
 */
const signedIn = ({ token, organization }) => ({
  getToken: () => token,
  organizationId: organization,
  isDev: false,
});

/** Forget the entered token: it is not valid, or another user wants to sign in. */
export function signOut() {
  sessionStorage.removeItem(KEPT);
  location.reload();
}

/** @returns {Given | Promise<Given>} */
function credentials() {
  const kept = sessionStorage.getItem(KEPT);
  if (kept !== null) return JSON.parse(kept);
  const form = byId("sign-in");
  form.hidden = false;
  byId("token").focus();
  return new Promise((resolve) => {
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      const given = {
        token: field("token").value.trim(),
        organization: field("organization").value.trim(),
      };
      // Only this tab sees it, and closing the tab removes it.
      sessionStorage.setItem(KEPT, JSON.stringify(given));
      form.hidden = true;
      resolve(given);
    });
  });
}
