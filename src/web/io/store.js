// What the page keeps in IndexedDB: messages that are not acknowledged, and what was last seen of each room.

/**
 * A message as it waits. `at` orders all of a browser's messages, those of other tabs included.
 * @typedef {object} Waiting
 * @property {number} [at]
 * @property {string} user
 * @property {string} id the client_msg_id
 * @property {string} room
 * @property {number} [roomId] the number of the room, if it was known
 * @property {string} body
 * @property {number} [replyTo] a place in the room
 * @property {number} [epoch] the life of the cluster's data that `replyTo` belongs to; 0 if none was known
 * @property {Blob} [blob] a file that is not uploaded yet
 * @property {string} [fileName]
 * @property {string} [fileId]
 * @property {number} createdAt milliseconds since 1970
 * @property {{code: string, reason: string}} [failed]
 */

const NAME = "syncnet";
const VERSION = 1;

/** @param {IDBRequest} request @returns {Promise<any>} */
function result(request) {
  return new Promise((resolve, reject) => {
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error);
  });
}

/** @param {IDBTransaction} transaction @returns {Promise<void>} */
function committed(transaction) {
  return new Promise((resolve, reject) => {
    transaction.oncomplete = () => resolve();
    transaction.onerror = transaction.onabort = () => reject(transaction.error);
  });
}

/** The keys of all that is known of a user's rooms. @param {string} user */
function roomsOf(user) {
  return IDBKeyRange.bound([user, ""], [user, "\uffff"]);
}

/** @returns {Promise<Store>} */
export async function openStore() {
  const request = indexedDB.open(NAME, VERSION);
  request.onupgradeneeded = () => {
    const database = request.result;
    database.createObjectStore("outbox", { keyPath: "at", autoIncrement: true });
    database.createObjectStore("rooms", { keyPath: ["user", "room"] });
  };
  return new Store(await result(request));
}

export class Store {
  /** @param {IDBDatabase} database */
  constructor(database) {
    this.database = database;
  }

  /** Durable once it resolves. @param {Waiting} message @returns {Promise<number>} its place */
  async add(message) {
    const transaction = this.database.transaction("outbox", "readwrite", { durability: "strict" });
    const done = committed(transaction);
    const at = await result(transaction.objectStore("outbox").add(message));
    await done;
    return at;
  }

  /** @param {Waiting} message */
  async put(message) {
    const transaction = this.database.transaction("outbox", "readwrite", { durability: "strict" });
    transaction.objectStore("outbox").put(message);
    await committed(transaction);
  }

  /** @param {number} at */
  async remove(at) {
    const transaction = this.database.transaction("outbox", "readwrite");
    transaction.objectStore("outbox").delete(at);
    await committed(transaction);
  }

  /** All that waits of this user, oldest first. @param {string} user @returns {Promise<Waiting[]>} */
  async waiting(user) {
    const transaction = this.database.transaction("outbox");
    /** @type {Waiting[]} */
    const all = await result(transaction.objectStore("outbox").getAll());
    return all.filter((message) => message.user.toLowerCase() === user.toLowerCase());
  }

  /**
   * Stores what is known of a room, or the list of rooms ("").
   * @param {string} user
   * @param {string} room
   * @param {unknown} value
   */
  async keep(user, room, value) {
    const transaction = this.database.transaction("rooms", "readwrite");
    transaction.objectStore("rooms").put({ user, room, value });
    await committed(transaction);
  }

  /** @param {string} user @param {string} room @returns {Promise<any>} */
  async kept(user, room) {
    const transaction = this.database.transaction("rooms");
    return (await result(transaction.objectStore("rooms").get([user, room])))?.value;
  }

  /**
   * Forgets what is known of a user's rooms, and keeps `value` as the list of them, in one step.
   * @param {string} user
   * @param {unknown} value
   */
  async beginAfresh(user, value) {
    const transaction = this.database.transaction("rooms", "readwrite");
    const rooms = transaction.objectStore("rooms");
    rooms.delete(roomsOf(user));
    rooms.put({ user, room: "", value });
    await committed(transaction);
  }

  /** Forgets all of a user. @param {string} user */
  async forget(user) {
    const waiting = await this.waiting(user);
    const transaction = this.database.transaction(["outbox", "rooms"], "readwrite");
    for (const { at } of waiting) transaction.objectStore("outbox").delete(/** @type {number} */ (at));
    transaction.objectStore("rooms").delete(roomsOf(user));
    await committed(transaction);
  }
}
