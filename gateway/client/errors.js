// Why a subscription is not live: each reason with a name for programs, and a sentence for people.

import { label, object } from "./fields.js";

/** Something keeps the subscription from being live. */
export class StreamError extends Error {
  /** The gateway's reason, where it closed the stream.
   * @type {string | null} */
  reason = null;
  /** It is tried again by itself. */
  retryable = true;

  /**
   * @param {string} code
   * @param {string} message
   * @param {ErrorOptions} [options]
   */
  constructor(code, message, options) {
    super(message, options);
    this.name = "StreamError";
    this.code = code;
  }
}

/** The gateway, or a proxy before it, has answered a request with an error status. */
export class Refused extends StreamError {
  /**
   * @param {number} status the HTTP status
   * @param {string} code the gateway's name for the error
   * @param {string} message
   * @param {number | null} retryAfterMs how long the gateway asks to wait, or null
   */
  constructor(status, code, message, retryAfterMs = null) {
    super(code, message);
    this.name = "Refused";
    this.status = status;
    this.retryAfterMs = retryAfterMs;
  }

  /** Whether the same request may succeed with a new token. */
  get isAboutAccess() {
    return [401, 403, 404].includes(this.status);
  }
}

/** What `getToken` throws when there is no session any more: it ends the subscription. */
export class Unauthorized extends StreamError {
  constructor(message = "There is no session: sign in again.") {
    super("unauthorized", message);
    this.name = "Unauthorized";
  }
}

/**
 * What failed, as a `StreamError`.
 * @param {unknown} reason
 */
export const streamError = (reason) =>
  reason instanceof StreamError
    ? reason
    : new StreamError("network", String(object(reason).message), { cause: reason });

/**
 * The error that `response` describes.
 * @param {Response} response
 */
export async function refusalOf(response) {
  // The body may be no JSON, for example a proxy's own page: then only its status counts.
  const { error, message } = object(await response.json().catch(() => null));
  const retryAfter = parseFloat(response.headers.get("Retry-After") ?? "");
  return new Refused(
    response.status,
    label(error) ?? "http",
    label(message) ?? `The answer has status ${response.status}.`,
    retryAfter >= 0 ? retryAfter * 1000 : null,
  );
}
