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
  Archive: ["owner", "owner", ""],
  Rename: ["owner", "owner", ""],
  DeleteRoom: ["owner", "owner", ""],
});

/** What administrators of the cluster may do besides in public rooms, as an owner would. @type {Permission[]} */
const ADMINISTRATORS = [
  "DeleteOthers",
  "Pin",
  "Topic",
  "Kick",
  "Ban",
  "Mute",
  "SetRole",
  "Configure",
  "Archive",
  "Rename",
  "DeleteRoom",
];

/** These go on when the room is archived. @type {Permission[]} */
const ARCHIVED = ["Archive", "DeleteRoom"];

/** Those that the servers ask about, for the tests. */
export const PERMISSIONS = /** @type {Permission[]} */ (Object.keys(RIGHTS));

/** @typedef {Pick<RoomInfo, "name"|"isPrivate"|"archived"|"role">} Room */

/** @param {Room} room */
const kindOf = (room) => room.name.startsWith("@") ? 2 : room.isPrivate ? 1 : 0;

/** @param {Room|null} room @param {Permission} permission @param {boolean} isAdministrator of the cluster */
export function may(room, permission, isAdministrator) {
  if (room === null || (room.archived && !ARCHIVED.includes(permission))) return false;
  const kind = kindOf(room);
  if (isAdministrator && kind === 0 && ADMINISTRATORS.includes(permission)) return true;
  const least = RIGHTS[permission][kind];
  return least !== "" && ROLES.indexOf(room.role) >= ROLES.indexOf(least);
}

/**
 * Whether order may be kept with a member: only with those below.
 * @param {Room|null} room @param {string} theirs @param {boolean} isAdministrator of the cluster
 */
export function outranks(room, theirs, isAdministrator) {
  if (room === null) return false;
  const mine = isAdministrator && kindOf(room) === 0 ? "owner" : room.role;
  return ROLES.indexOf(mine) > ROLES.indexOf(theirs);
}
