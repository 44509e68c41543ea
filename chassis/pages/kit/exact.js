// JSON as it was written: a number stays its text, so that 150.00 is never 150 and no
// 64-bit number loses its last digits. Whoever counts or draws says Number() himself.

const TOKEN = /"(?:[^"\\]|\\.)*"|-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?/g;

export const readExact = (text) =>
  JSON.parse(text.replace(TOKEN, (token) => (token[0] === "\"" ? token : `"${token}"`)));
