// Event ids, `<epoch>-<seq>`: within one epoch of a history, seq counts up by one.

/** @typedef {{ epoch: string, seq: number }} EventId */

/**
 * The parts of an id; null for anything that is not an id.
 * @param {unknown} id
 * @returns {EventId | null}
 */
export function parseId(id) {
  const match = typeof id === "string" ? /^(\d+)-(\d+)$/.exec(id) : null;
  return match && { epoch: match[1], seq: Number(match[2]) };
}

/**
 * Whether a reader at `position` has already seen the event `id`.
 * @param {EventId | null} position
 * @param {EventId | null} id
 */
export const isAtOrAfter = (position, id) =>
  position !== null && id !== null && position.epoch === id.epoch && position.seq >= id.seq;
