// Event streams by the standard (WHATWG HTML, section 9.2.6): text in, messages out.

const LINE_END = /\r\n|\r|\n/;

/** Feed it the text of a stream as it comes; a message is `{event, data, id, retry}`. */
export class SseParser {
  #rest = "";
  #began = false;
  #fields = {};

  /** The messages that `text` completes. */
  push(text) {
    // A CR at the end may be half of a line end: it waits for what follows.
    const all = this.#rest + text;
    const whole = all.endsWith("\r") ? all.slice(0, -1) : all;
    const lines = whole.split(LINE_END);
    this.#rest = lines.pop() + all.slice(whole.length);
    return lines.map((line) => this.#line(line)).filter((message) => message !== null);
  }

  #line(raw) {
    const line = this.#began ? raw : raw.replace(/^\uFEFF/, "");
    this.#began = true;
    if (line === "") return this.#dispatch();
    const colon = line.indexOf(":");
    const name = colon < 0 ? line : line.slice(0, colon);
    const value = colon < 0 ? "" : line.slice(colon + 1).replace(/^ /, "");
    const fields = this.#fields;
    if (name === "data")
      fields.data = fields.data === undefined ? value : `${fields.data}\n${value}`;
    else if (name === "event") fields.event = value;
    else if (name === "id" && !value.includes("\0")) fields.id = value;
    else if (name === "retry" && /^\d+$/.test(value)) fields.retry = Number(value);
    return null;
  }

  #dispatch() {
    const { event, data, id, retry } = this.#fields;
    this.#fields = {};
    return data === undefined ? null : { event: event || "message", data, id, retry };
  }
}
