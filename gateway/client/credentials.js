// The token of a subscription: requested when there is none, before it expires, and when it is refused.

import { unlessAborted } from "./sleeper.js";

/** @import { Options } from "./index.js" */
/** @typedef {NonNullable<Options["getToken"]>} GetToken */
/** @typedef {{ Authorization: string, [name: string]: string }} Headers */

// A token with less time left than this is not used for a new request.
const MARGIN_MS = 10_000;

/** Keeps the token that `getToken` returned, as long as it is valid. */
export class Credentials {
  #getToken;
  #organizationId;
  /** @type {string | null} */
  #token = null;
  /** The running call of `getToken`: a second one might ask a user for a password twice.
   * @type {Promise<boolean> | null} */
  #pending = null;
  #isReplacing = false;
  // The token came after a refusal, and no request with it has succeeded yet.
  #isReplacement = false;
  /** The last token was refused, and no other one can help. */
  isExhausted = false;

  /**
   * @param {GetToken | string} getToken returns a token or a promise of one; it is called with
   *   `fresh` after a refusal. A string is a token that cannot be renewed.
   * @param {string} [organizationId]
   */
  constructor(getToken, organizationId) {
    this.canRenew = typeof getToken === "function";
    this.#getToken = typeof getToken === "function" ? getToken : () => getToken;
    this.#organizationId = organizationId;
  }

  /**
   * The headers of a request. Rejects with the error of `getToken`, or when `signal` is aborted.
   * @param {AbortSignal} signal
   */
  async headers(signal) {
    if (this.#pending || this.#token === null || expiresAt(this.#token) - MARGIN_MS < Date.now()) {
      await this.renew({ fresh: false, signal });
    }
    /** @type {Headers} */
    const headers = { Authorization: this.#authorization };
    if (this.#organizationId) headers["X-Organization-ID"] = this.#organizationId;
    return headers;
  }

  get #authorization() {
    return `Bearer ${this.#token}`;
  }

  /**
   * Request a token now; returns whether it is another one. Rejects as `headers` does.
   * @param {{ fresh: boolean, signal: AbortSignal }} request
   */
  renew({ fresh, signal }) {
    this.#pending ??= this.#request(fresh).finally(() => (this.#pending = null));
    return unlessAborted(this.#pending, signal);
  }

  /** @param {boolean} fresh */
  async #request(fresh) {
    const given = await this.#getToken({ fresh });
    if (typeof given !== "string" || given === "") throw new Error("getToken returned no token.");
    // Applications often store a token in the form of the header.
    const token = given.replace(/^Bearer\s+/i, "");
    const isNew = token !== this.#token;
    this.#token = token;
    return isNew;
  }

  /** The token has expired: the next request needs another one. */
  forget() {
    this.#token = null;
  }

  /** A request with the token has succeeded. */
  accepted() {
    this.#isReplacement = false;
  }

  /**
   * A request with these headers was refused: replace the token. Returns whether there is another one
   * to try; if not, and `isExhausted` is set, the refused one was a replacement itself, or cannot be
   * renewed. Rejects as `headers` does.
   * @param {Partial<Headers>} refused
   * @param {AbortSignal} signal
   */
  async replace(refused, signal) {
    // The stream and the polls may both be refused for the same token.
    if (this.#isReplacing || refused.Authorization !== this.#authorization) return true;
    this.isExhausted = !this.canRenew || this.#isReplacement;
    if (this.isExhausted) return false;
    this.#isReplacing = this.#isReplacement = true;
    try {
      await this.renew({ fresh: true, signal });
    } catch (error) {
      this.#isReplacement = false;
      throw error;
    } finally {
      this.#isReplacing = false;
    }
    return this.#isReplacement;
  }
}

/**
 * When `token` expires, in milliseconds since the epoch; never, if it is not a JWT.
 * @param {string} token
 */
function expiresAt(token) {
  try {
    const payload = token.split(".")[1].replaceAll("-", "+").replaceAll("_", "/");
    const { exp } = JSON.parse(atob(payload));
    return typeof exp === "number" ? exp * 1000 : Infinity;
  } catch {
    return Infinity;
  }
}
