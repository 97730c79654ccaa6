// What the page offers to whom in a room. The servers decide (src/chat/rights.rs); this only spares people buttons
// that would be refused.

/**
 * @typedef {import("./chat.js").RoomInfo} RoomInfo
 * @typedef {keyof typeof RIGHTS} Permission
 */

/** From the least. */
const ROLES = ["muted", "member", "moderator", "owner"];

/** The least role in public, private and direct rooms; "" for nobody. */
const RIGHTS = /** @type {const} */ ({
  Leave: ["muted", "muted", ""],
  Say: ["member", "member", "member"],
  Edit: ["member", "member", "member"],
  DeleteOwn: ["muted", "muted", "muted"],
  DeleteOthers: ["moderator", "moderator", ""],
  React: ["member", "member", "member"],
  Pin: ["moderator", "moderator", "muted"],
  Topic: ["moderator", "moderator", ""],
  Invite: ["member", "moderator", ""],
  Kick: ["moderator", "moderator", ""],
  Ban: ["moderator", "moderator", ""],
  Mute: ["moderator", "moderator", ""],
  SetRole: ["owner", "owner", ""],
  Configure: ["owner", "owner", ""],
  Rename: ["owner", "owner", ""],
  DeleteRoom: ["owner", "owner", ""],
});

/** These go on when the room is archived. @type {Permission[]} */
const ARCHIVED = ["Configure", "DeleteRoom"];

/** Those that the servers ask about, for the tests. */
export const PERMISSIONS = /** @type {Permission[]} */ (Object.keys(RIGHTS));

/** @param {Pick<RoomInfo, "name"|"isPrivate"|"archived"|"role">|null} room @param {Permission} permission */
export function may(room, permission) {
  if (room === null || (room.archived && !ARCHIVED.includes(permission))) return false;
  const kind = room.name.startsWith("@") ? 2 : room.isPrivate ? 1 : 0;
  const least = RIGHTS[permission][kind];
  return least !== "" && ROLES.indexOf(room.role) >= ROLES.indexOf(least);
}

/** Whether order may be kept with a member: only with those below. @param {string} mine @param {string} theirs */
export const outranks = (mine, theirs) => ROLES.indexOf(mine) > ROLES.indexOf(theirs);
