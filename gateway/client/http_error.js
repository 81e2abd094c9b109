// An error answer of the gateway, or of a proxy before it.

import { label, object } from "./fields.js";

/** The request was answered with an error status. */
export class Refused extends Error {
  /**
   * @param {number} status the HTTP status
   * @param {string} code the gateway's name for the error
   * @param {string} message
   * @param {number | null} retryAfterMs how long the gateway asks to wait, or null
   */
  constructor(status, code, message, retryAfterMs = null) {
    super(message);
    this.name = "Refused";
    this.status = status;
    this.code = code;
    this.retryAfterMs = retryAfterMs;
  }

  /** Whether the same request may succeed with a new token. */
  get isAboutAccess() {
    return [401, 403, 404].includes(this.status);
  }
}

/**
 * The error that `response` describes.
 * @param {Response} response
 */
export async function refusalOf(response) {
  let document = object(null);
  try {
    document = object(await response.json());
  } catch {
    // The body is not JSON, for example a proxy's own page: only its status counts.
  }
  const retryAfter = Number(response.headers.get("Retry-After") ?? NaN);
  return new Refused(
    response.status,
    label(document.error) ?? "http",
    label(document.message) ?? `The answer has status ${response.status}.`,
    Number.isFinite(retryAfter) ? retryAfter * 1000 : null,
  );
}
