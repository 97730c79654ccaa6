// Numbers and times as people read them.

/** @param {number|null|undefined} number */
export function count(number) {
  return number === null || number === undefined ? "–" : Math.round(number).toLocaleString("en");
}

/** A rate: small ones with a digit behind the point. @param {number|null|undefined} number */
export function rate(number) {
  if (number === null || number === undefined) return "–";
  return number > 0 && number < 10 ? number.toFixed(1) : count(number);
}

/** @param {number|null|undefined} bytes */
export function size(bytes) {
  if (!bytes) return "–";
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  let at = 0;
  let number = bytes;
  while (number >= 1024 && at < units.length - 1) {
    number /= 1024;
    at += 1;
  }
  return `${number < 10 && at > 0 ? number.toFixed(1) : Math.round(number)} ${units[at]}`;
}

/** @param {number|null|undefined} ms */
export function milliseconds(ms) {
  if (ms === null || ms === undefined) return "–";
  if (ms >= 1_000) return `${(ms / 1_000).toFixed(1)} s`;
  return `${ms < 10 ? ms.toFixed(1) : Math.round(ms)} ms`;
}

/** How long something has lasted. @param {number} ms */
export function lasting(ms) {
  const seconds = Math.floor(ms / 1_000);
  if (seconds < 60) return `${seconds} s`;
  const minutes = Math.floor(seconds / 60);
  if (minutes < 60) return `${minutes} min`;
  const hours = Math.floor(minutes / 60);
  return hours < 48 ? `${hours} h` : `${Math.floor(hours / 24)} days`;
}

/** Time of the day. @param {number} ms since the Unix epoch */
export function clock(ms) {
  return new Date(ms).toLocaleTimeString("en-GB");
}

/** Why there was an election, in words. @type {Record<string, string>} */
export const CAUSES = {
  start: "the server had just started and heard no leader",
  leader_died: "the leader's process was gone",
  leader_silent: "the leader was not heard any more",
  handover: "the leader handed over",
  timeout: "nobody was chosen in time",
};
