// Which language the page is in: Portuguese where the browser's user prefers that, else English.

const isPortuguese = /^pt\b/i.test(
  navigator.languages.find((one) => /^(en|pt)\b/i.test(one)) ?? "en",
);
/** For `Intl` too. */
export const LANGUAGE = isPortuguese ? "pt-BR" : "en";

export const { format: number } = new Intl.NumberFormat(LANGUAGE);

/** @typedef {number} Count */

/** @param {Count} count
 * @param {string} one
 * @param {string} many */
export const counted = (count, one, many) =>
  count === 1 ? `1 ${one}` : `${number(count)} ${many}`;
