// The page of `sse-gateway dev`: which executions there are (the list, asked for again and again),
// which of them have a stream, and what to say about the connection.

import { Card, element, seconds, time } from "/dev/card.js";
import { Stream } from "/dev/stream.js";

// A browser opens six HTTP/1.1 connections per host: two stay free for everything else.
const MOST_STREAMS = 4;
const LIST_INTERVAL_MS = 2000;
const ANSWER_WITHIN_MS = 5000;
// A token is renewed when this share of its time is over.
const RENEW_AFTER = 0.8;

const byId = (id) => document.getElementById(id);
const cards = new Map();
const watched = new Set();
let session = null;
let listedAt = Date.now();
let listTrouble = false;

async function ask(path) {
  const response = await fetch(path, { signal: AbortSignal.timeout(ANSWER_WITHIN_MS) });
  if (!response.ok) throw new Error(`${path}: ${response.status}`);
  return response.json();
}

async function refresh() {
  dropRefused();
  try {
    if (!session || Date.now() > session.renewAt) {
      session = await ask("/dev/session");
      session.renewAt = Date.now() + session.expires_in * 1000 * RENEW_AFTER;
    }
    const list = await ask("/dev/executions");
    listedAt = Date.now();
    listTrouble = false;
    showRunning(list.filter((one) => !one.completed_at));
    showEnded(list.filter((one) => one.completed_at));
  } catch (error) {
    console.warn(error);
    listTrouble = true;
  }
  allotStreams();
}

// The browser never tries a refused stream again. Perhaps its token is over, or the gateway was
// started anew and does not know it: the next try is with a new one.
function dropRefused() {
  for (const card of cards.values()) {
    if (card.stream?.state === "refused") card.stream = session = null;
  }
}

function showRunning(list) {
  const listed = new Map(list.map((one) => [one.id, one]));
  for (const id of [...listed.keys(), ...watched]) {
    if (!cards.has(id)) cards.set(id, new Card(id));
  }
  for (const [id, card] of cards) {
    if (listed.has(id)) {
      card.update(listed.get(id));
    } else if (!watched.has(id)) {
      card.stream?.close();
      card.box.remove();
      cards.delete(id);
    }
  }
  for (const card of cards.values()) {
    if (!card.box.isConnected) byId("running").append(card.box);
  }
  byId("none").hidden = cards.size > 0;
}

function showEnded(list) {
  const lines = list.map((one) => {
    const item = element("li", "");
    const lasted = seconds(time(one.completed_at) - time(one.started_at));
    item.append(
      element("code", "", one.id),
      element("strong", one.status, one.status),
      element("span", "faint", `${one.steps.length} steps in ${lasted}`),
    );
    return item;
  });
  byId("ended").replaceChildren(...lines);
}

// Gives the few streams away: to what the user asked for, then to who has one, then to the others.
function allotStreams() {
  const rank = (card) => (watched.has(card.id) ? 0 : card.stream ? 1 : 2);
  const wanting = [...cards.values()].filter((card) => !card.isOver);
  wanting.sort((a, b) => rank(a) - rank(b));
  // A hidden tab leaves its connections to the tab that is looked at.
  const chosen = new Set(document.hidden ? [] : wanting.slice(0, MOST_STREAMS));
  for (const card of cards.values()) {
    if (card.stream && !chosen.has(card)) {
      card.stream.close();
      card.stream = null;
    }
  }
  for (const card of session ? chosen : []) card.stream ??= open(card);
  showConnections();
}

function open(card) {
  return new Stream(card.id, session, {
    changed: showConnections,
    seen: (type, envelope) => {
      card.seen(type, envelope);
      if (card.isOver) allotStreams();
    },
  });
}

function showConnections() {
  const without = (card) =>
    watched.has(card.id) ? "waits for a free stream" : `list only, every ${LIST_INTERVAL_MS / 1000} s`;
  for (const card of cards.values()) card.showConnection(without(card));
  const open = [...cards.values()].filter((card) => card.stream && !card.isOver);
  const live = open.filter((card) => card.stream.state === "live");
  const all = live.length === open.length;
  const streams = open.length === 1 ? "stream" : "streams";
  let text = all ? `live: ${open.length} ${streams}` : `${live.length} of ${open.length} ${streams} live`;
  if (!open.length) text = "no stream is open";
  if (listTrouble) text += `; the list is ${seconds(Date.now() - listedAt)} old, trying again`;
  byId("state").textContent = text;
  byId("state").className = all && open.length && !listTrouble ? "live" : "reconnecting";
}

byId("watch").addEventListener("submit", (event) => {
  event.preventDefault();
  watched.add(byId("watch-id").value);
  byId("watch").reset();
  refresh();
});

document.addEventListener("visibilitychange", () => {
  allotStreams();
  if (!document.hidden) refresh();
});

setInterval(() => {
  for (const card of cards.values()) card.tick();
  showConnections();
}, 1000);

for (;;) {
  await refresh();
  await new Promise((resolve) => setTimeout(resolve, LIST_INTERVAL_MS));
}
