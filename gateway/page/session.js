// Who looks: on a developer's machine the gateway gives out tokens, elsewhere one is asked for.

import { byId } from "./dom.js";

const KEPT = "executions-live";

/** `{getToken, organizationId, isDev}`, once it is known. */
export async function begin() {
  const response = await fetch("/dev/session").catch(() => null);
  if (response?.ok) return development(await response.json());
  return signedIn(await credentials());
}

function development({ organization_id: organizationId }) {
  const getToken = async () => (await (await fetch("/dev/session")).json()).token;
  return { getToken, organizationId, isDev: true };
}

const signedIn = ({ token, organization }) => ({
  getToken: () => token,
  organizationId: organization,
  isDev: false,
});

/** Forget the token that was given: it is no good, or somebody else's turn. */
export function signOut() {
  sessionStorage.removeItem(KEPT);
  location.reload();
}

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
        token: byId("token").value.trim(),
        organization: byId("organization").value.trim(),
      };
      // Of this tab alone, and gone with it.
      sessionStorage.setItem(KEPT, JSON.stringify(given));
      form.hidden = true;
      resolve(given);
    });
  });
}
