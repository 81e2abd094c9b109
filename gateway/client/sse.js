// Event streams by the standard (WHATWG HTML, section 9.2.6): text in, messages out.

/**
 * `event` is empty where a block has no data: it sets only `id` or `retry`.
 * @typedef {{ event: string, data: string, id?: string, retry?: number }} Message
 */

const LINE_END = /\r\n|\r|\n/;

/** Takes the text of a stream in any pieces, without its byte order mark, and returns its messages. */
export class SseParser {
  #rest = "";
  #isAfterCr = false;
  /** @type {Partial<Message>} */
  #fields = {};

  /**
   * The messages that `text` completes.
   * @param {string} text
   */
  push(text) {
    // The CR before it ended the line already: a browser does not wait for this LF.
    const next = this.#isAfterCr && text.startsWith("\n") ? text.slice(1) : text;
    if (text !== "") this.#isAfterCr = text.endsWith("\r");
    const lines = next.split(LINE_END);
    // Only what is new is searched: a long line arrives in many pieces.
    lines[0] = this.#rest + lines[0];
    this.#rest = /** @type {string} */ (lines.pop());
    return lines.map((line) => this.#line(line)).filter((message) => message !== null);
  }

  /** @param {string} line */
  #line(line) {
    if (line === "") return this.#dispatch();
    const colon = line.indexOf(":");
    const name = colon < 0 ? line : line.slice(0, colon);
    const value = colon < 0 ? "" : line.slice(colon + 1).replace(/^ /, "");
    const fields = this.#fields;
    if (name === "data") {
      fields.data = fields.data === undefined ? value : `${fields.data}\n${value}`;
    } else if (name === "event") fields.event = value;
    else if (name === "id" && !value.includes("\0")) fields.id = value;
    else if (name === "retry" && /^\d+$/.test(value)) fields.retry = Number(value);
    return null;
  }

  /** @returns {Message | null} */
  #dispatch() {
    const { event, data, id, retry } = this.#fields;
    this.#fields = {};
    if (data !== undefined) return { event: event || "message", data, id, retry };
    return id === undefined && retry === undefined ? null : { event: "", data: "", id, retry };
  }
}
