// The token of a subscription: asked for when there is none, and again before it expires.

import { unlessAborted } from "./waker.js";

// A token with less left than this is not used for a new request.
const MARGIN_MS = 10_000;

/** Keeps the token that `getToken` gave, for as long as it is good. */
export class Credentials {
  #getToken;
  #organizationId;
  #token = null;
  // The call of `getToken` under way: a second one might ask somebody for a password twice.
  #asking = null;

  /** `getToken({fresh})` returns a token or a promise of one; `fresh`: the last one was refused. A
   * text is a token that cannot be renewed. */
  constructor(getToken, organizationId) {
    this.canRenew = typeof getToken === "function";
    this.#getToken = this.canRenew ? getToken : () => getToken;
    this.#organizationId = organizationId;
  }

  /** The headers of a request. Rejects with what `getToken` throws, or when `signal` is aborted. */
  async headers(signal) {
    if (this.#asking || this.#token === null || expiresAt(this.#token) - MARGIN_MS < Date.now()) {
      await this.renew({ fresh: false, signal });
    }
    const headers = { Authorization: this.authorization };
    if (this.#organizationId) headers["X-Organization-ID"] = this.#organizationId;
    return headers;
  }

  /** What stands for the token in a request's headers. */
  get authorization() {
    return `Bearer ${this.#token}`;
  }

  /** Ask for a token now; whether it is another one. Rejects as `headers` does. */
  renew({ fresh, signal }) {
    this.#asking ??= this.#ask(fresh).finally(() => (this.#asking = null));
    return unlessAborted(this.#asking, signal);
  }

  async #ask(fresh) {
    const given = await this.#getToken({ fresh });
    if (typeof given !== "string" || given === "") throw new Error("getToken gave no token.");
    // Whoever keeps tokens often keeps them as they stand in the header.
    const token = given.replace(/^Bearer\s+/i, "");
    const isNew = token !== this.#token;
    this.#token = token;
    return isNew;
  }

  /** The token is good no more: the next request asks for another one. */
  forget() {
    this.#token = null;
  }
}

/** When `token` expires, in milliseconds since the epoch; never, for what is no JWT. */
function expiresAt(token) {
  try {
    const payload = token.split(".")[1].replaceAll("-", "+").replaceAll("_", "/");
    const { exp } = JSON.parse(atob(payload));
    return typeof exp === "number" ? exp * 1000 : Infinity;
  } catch {
    return Infinity;
  }
}
