// What a follower is given, in Node and in a page; and what it tells, a line of JSON at a time.

export const { url, token } = globalThis.given ?? {
  url: process.env.STREAM_URL,
  token: process.env.TOKEN,
};
export const headers = { Authorization: `Bearer ${token}`, "X-Organization-ID": "acme" };
export const TYPES = ["step:started", "execution:completed"];

/** An event, as the gateway sent it. */
export const say = (data) => console.log(data);

/** It is this program, and not the library, that connects again. */
export const again = () => console.log('{"again": true}');

/** Nothing will follow: who has noticed? */
export const over = (who) => console.log(JSON.stringify({ over: who }));
