// Where requests go that no `baseUrl` says more of.

// The address of a bundle is not the gateway's: it may be a CDN's, and tokens are sent to the base URL.
const SERVED = /^(https?:[^?#]*)\/api\/v1\/sse\/client\/[\w.-]+\.js(?:\?v=\w+)?$/;

/** @type {string | undefined} */
let own;

/** Called by the file that a gateway serves; see served.js.
 * @param {string} url */
export function loadedFrom(url) {
  own = SERVED.exec(url)?.[1];
}

export function defaultUrl() {
  const url = own ?? globalThis.location?.origin;
  if (/^https?:/.test(url ?? "")) return /** @type {string} */ (url);
  throw new TypeError("Outside a web page the option baseUrl is needed: the gateway's address.");
}
