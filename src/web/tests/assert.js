// Two assertions, so that the tests need nothing from a registry.

/** @param {unknown} actual @param {unknown} expected @param {string} [where] */
export function assertEquals(actual, expected, where = "") {
  const [a, b] = [JSON.stringify(actual), JSON.stringify(expected)];
  if (a !== b) throw new Error(`${where}\n  actual:   ${a}\n  expected: ${b}`);
}

/** @param {unknown} value @param {string} [where] @returns {asserts value} */
export function assert(value, where = "it does not hold") {
  if (!value) throw new Error(where);
}
