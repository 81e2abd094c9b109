// The token of a subscription: requested when there is none, before it expires, and when it is refused.

import { StreamError, Unauthorized } from "./errors.js";
import { object } from "./fields.js";
import { unlessAborted } from "./sleeper.js";

/** @import { Options } from "./index.js" */
/** @typedef {Record<string, string>} Headers */

// A token with less time left than this is not used for a new request.
const MARGIN_MS = 10_000;

/** Keeps the token that `getToken` returned, as long as it is valid. */
export class Credentials {
  #getToken;
  #token = "";
  #headers;
  /** The running call of `getToken`: a second one might ask a user for a password twice.
   * @type {Promise<boolean> | null} */
  #pending = null;
  #isReplacing = false;
  // The token came after a refusal, and no request with it has succeeded yet.
  #isReplacement = false;
  /** `getToken` has failed: the stream asks again when it is tried, and polls do not ask. */
  hasFailed = false;

  /** @param {Pick<Options, "getToken" | "token" | "organizationId" | "headers">} options without
   *   both `getToken` and `token`, a cookie is the credential */
  constructor({ getToken, token, organizationId, headers }) {
    this.canRenew = Boolean(getToken);
    this.#getToken = getToken ?? (token === undefined ? null : () => token);
    this.#headers = { ...headers, ...(organizationId && { "X-Organization-ID": organizationId }) };
  }

  /**
   * The headers of a request. Rejects if there is no token, or when `signal` is aborted.
   * @param {AbortSignal} signal
   * @returns {Promise<Headers>}
   */
  async headers(signal) {
    if (!this.#getToken) return this.#headers;
    if (this.#pending || !this.#token || expiresAt(this.#token) - MARGIN_MS < Date.now()) {
      await this.renew(false, signal);
    }
    return { ...this.#headers, Authorization: this.#authorization };
  }

  get #authorization() {
    return `Bearer ${this.#token}`;
  }

  /**
   * Request a token now; returns whether it is another one. Rejects as `headers` does.
   * @param {boolean} fresh the last one was refused
   * @param {AbortSignal} signal
   */
  renew(fresh, signal) {
    this.#pending ??= this.#request(fresh).finally(() => (this.#pending = null));
    return unlessAborted(this.#pending, signal);
  }

  /** @param {boolean} fresh */
  async #request(fresh) {
    this.hasFailed = true;
    let given;
    try {
      given = await this.#getToken?.({ fresh });
    } catch (error) {
      if (error instanceof Unauthorized) throw error;
      const message = `getToken has failed: ${/** @type {Error} */ (error)?.message}`;
      throw new StreamError("token", message, { cause: error });
    }
    // Applications often store a token in the form of the header.
    const token = typeof given === "string" ? given.replace(/^Bearer\s+/i, "") : "";
    if (!token) throw new StreamError("no_token", "getToken returned no token.");
    this.hasFailed = false;
    const isNew = token !== this.#token;
    this.#token = token;
    return isNew;
  }

  /** The token has expired: the next request needs another one. */
  forget() {
    this.#token = "";
  }

  /** A request with the token has succeeded. */
  accepted() {
    this.#isReplacement = false;
  }

  /**
   * A request with these headers was refused: replace the token. Returns whether there is another one
   * to try; null if none can help: the refused one was a replacement itself, or cannot be renewed.
   * Rejects as `headers` does.
   * @param {Headers} refused
   * @param {AbortSignal} signal
   */
  async replace(refused, signal) {
    // The stream and the polls may both be refused for the same token.
    const isOld = this.#getToken && refused.Authorization !== this.#authorization;
    if (this.#isReplacing || isOld) return true;
    if (!this.canRenew || this.#isReplacement) return null;
    this.#isReplacing = this.#isReplacement = true;
    try {
      await this.renew(true, signal);
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
  const { exp } = claimsOf(token);
  return typeof exp === "number" ? exp * 1000 : Infinity;
}

/**
 * What a JWT says of its bearer, unchecked; nothing, if it is not a JWT.
 * @param {string} token
 * @returns {Record<string, unknown>}
 */
export function claimsOf(token) {
  try {
    const payload = token.split(".")[1].replaceAll("-", "+").replaceAll("_", "/");
    return object(JSON.parse(atob(payload)));
  } catch {
    return {};
  }
}
