// Event streams by the standard (WHATWG HTML, section 9.2.6): text in, messages out.

/** @typedef {{ event: string, data: string, id?: string, retry?: number }} Message */

const LINE_END = /\r\n|\r|\n/;

/** Takes the text of a stream in any pieces, and returns its messages. */
export class SseParser {
  #rest = "";
  #hasBegun = false;
  /** @type {Partial<Message>} */
  #fields = {};

  /**
   * The messages that `text` completes.
   * @param {string} text
   */
  push(text) {
    // A CR at the end may be half of a line end: it waits for what follows.
    const all = this.#rest + text;
    const whole = all.endsWith("\r") ? all.slice(0, -1) : all;
    const lines = whole.split(LINE_END);
    this.#rest = lines.pop() + all.slice(whole.length);
    return lines.map((line) => this.#line(line)).filter((message) => message !== null);
  }

  /** @param {string} raw */
  #line(raw) {
    const line = this.#hasBegun ? raw : raw.replace(/^\uFEFF/, "");
    this.#hasBegun = true;
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
    return data === undefined ? null : { event: event || "message", data, id, retry };
  }
}
