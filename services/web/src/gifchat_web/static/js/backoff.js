/**
 * How long to wait before the next attempt, in ms. The time doubles with each attempt up to `max`. Up to half of it is
 * taken off at random.
 *
 * @param {number} attempt The number of attempts so far, from 1.
 */
export function backoff(attempt, { base = 500, max = 8_000, random = Math.random } = {}) {
  const full = Math.min(max, base * 2 ** (attempt - 1));
  return full / 2 + (random() * full) / 2;
}
