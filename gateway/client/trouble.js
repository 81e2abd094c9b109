// What can go wrong between a page and the gateway, as errors that say whether to try again.

import { label, object } from "./fields.js";

/** The gateway, or a proxy before it, has answered with a refusal. */
export class Refused extends Error {
  /** `code` is the gateway's word for it, `retryAfterMs` what it asks to wait, or null. */
  constructor(status, code, message, retryAfterMs = null) {
    super(message);
    this.name = "Refused";
    this.status = status;
    this.code = code;
    this.retryAfterMs = retryAfterMs;
  }

  /** Whether the same request with a new token may be answered otherwise. */
  get isAboutAccess() {
    return [401, 403, 404].includes(this.status);
  }
}

/** The refusal that `response` is. */
export async function refusalOf(response) {
  let document = {};
  try {
    document = object(await response.json());
  } catch {
    // A proxy's own page: its status is all that counts.
  }
  const retryAfter = Number(response.headers.get("Retry-After") ?? NaN);
  return new Refused(
    response.status,
    label(document.error) ?? "http",
    label(document.message) ?? `The answer has status ${response.status}.`,
    Number.isFinite(retryAfter) ? retryAfter * 1000 : null,
  );
}
