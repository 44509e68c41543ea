// The sandbox's own HTTP interface; a failure carries the words that the server gave.

async function ask(path, options) {
  let response;
  try {
    response = await fetch(path, options);
  } catch {
    throw new Error("The sandbox does not answer. Is it running?");
  }
  const document = await response.json();
  if (!response.ok) {
    const failure = new Error(document.error.message);
    failure.code = document.error.code;
    failure.status = response.status;
    throw failure;
  }
  return document;
}

export const get = (path) => ask(path, {});

export const post = (path, body) => ask(path, {
  method: "POST",
  headers: body === undefined ? {} : { "Content-Type": "application/json" },
  body: body === undefined ? undefined : JSON.stringify(body),
});
