// Ids of events, `<epoch>-<seq>`: within one life of a history (epoch) seq counts without holes.

/** `[epoch, seq]` of an id, as texts and numbers that can be compared; null for anything else. */
export function parseId(id) {
  const match = typeof id === "string" ? /^(\d+)-(\d+)$/.exec(id) : null;
  return match && { epoch: match[1], seq: Number(match[2]) };
}

/** Whether a reader that stands at `position` has seen `id`; both as `parseId` gives them. */
export const hasSeen = (position, id) =>
  position !== null && id !== null && position.epoch === id.epoch && position.seq >= id.seq;
