/** How long to wait before attempt number `attempt` (from 1), in ms: doubling, at most `max`, a random half of it off. */
export function backoff(attempt, { base = 500, max = 8_000, random = Math.random } = {}) {
  const full = Math.min(max, base * 2 ** (attempt - 1));
  return full / 2 + (random() * full) / 2;
}
