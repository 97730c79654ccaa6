// The cases that src/client/outbox.rs is held to, too.
import { assertEquals } from "./assert.js";
import { Outbox } from "../core/outbox.js";

const FOLDER = new URL("../../../tests/cases/outbox/", import.meta.url);

/** @param {Outbox} outbox @param {{next: number}} ids */
function sendAll(outbox, ids) {
  const sent = [];
  for (let next = outbox.nextToSend(); next; next = outbox.nextToSend()) {
    sent.push({ id: next.message.client_msg_id, follows: next.before?.client_msg_id ?? null });
    outbox.sent(ids.next++);
  }
  return sent;
}

/** @param {string} id */
const message = (id) => ({ client_msg_id: id, room: "lobby", body: "x" });

for (const entry of [...Deno.readDirSync(FOLDER)].sort((a, b) => a.name.localeCompare(b.name))) {
  const script = JSON.parse(Deno.readTextFileSync(new URL(entry.name, FOLDER)));
  Deno.test(`outbox: ${script.name}`, () => {
    const outbox = new Outbox(script.restored.map(message));
    const ids = { next: 1 };
    script.steps.forEach((/** @type {Record<string, any>} */ step, /** @type {number} */ at) => {
      const place = `step ${at + 1}: ${JSON.stringify(step)}`;
      if (step.push) outbox.push(message(step.push));
      else if (step.sends) {
        const sent = sendAll(outbox, ids);
        assertEquals(sent.map(({ id }) => id), step.sends, place);
        if (step.follows) assertEquals(sent.map(({ follows }) => follows), step.follows, place);
      } else if (step.answered) {
        assertEquals(outbox.answered(step.answered)?.client_msg_id ?? null, step.gives, place);
      } else if (step.refused_for_load) outbox.refusedForLoad(step.refused_for_load);
      else if (step.connection_lost) outbox.connectionLost();
      else if (step.take) {
        const gone = outbox.take((other) => step.take.includes(other.client_msg_id));
        assertEquals(gone.map((other) => other.client_msg_id), step.gives, place);
      } else if (step.rename) {
        outbox.rename({ swaps: false, ...step.rename });
        assertEquals(outbox.entries.map((other) => other.message.room), step.rooms, place);
      } else if (step.number) {
        outbox.number(step.number.room, step.number.room_id);
        assertEquals(outbox.entries.map((other) => other.message.room_id ?? null), step.numbers, place);
      } else throw new Error(`unknown ${place}`);
    });
    assertEquals(outbox.entries.map((other) => other.message.client_msg_id), script.left);
  });
}
