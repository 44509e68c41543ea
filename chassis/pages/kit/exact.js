// JSON as it was written: a number stays its text, so that 150.00 is never 150 and no
// 64-bit number loses its last digits. Whoever counts or draws says Number() himself.

const TOKEN = /"(?:[^"\\]|\\.)*"|-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?/g;

// Writes an object of texts and truths; the members named in `numbers` are texts of numbers.
export const writeExact = (members, numbers = []) => `{${Object.entries(members)
  .filter(([, value]) => value !== undefined && value !== "")
  .map(([name, value]) => `${JSON.stringify(name)}:${numbers.includes(name) ? checked(value) : JSON.stringify(value)}`)
  .join(",")}}`;

function checked(text) {
  if (!/^-?\d+(\.\d+)?$/.test(text)) throw new Error(`${text} is no number`);
  return text;
}

export const readExact = (text) =>
  JSON.parse(text.replace(TOKEN, (token) => (token[0] === "\"" ? token : `"${token}"`)));
