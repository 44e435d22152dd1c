// Calls to the service.  The key is kept in sessionStorage, so for this tab only.

const KEY = "ax650-key";

export class Refused extends Error {
  constructor(message, status) {
    super(message);
    this.status = status;
  }
}

export function setKey(key) {
  sessionStorage.setItem(KEY, key);
}

export async function call(path, { method = "GET", body, signal } = {}) {
  const key = sessionStorage.getItem(KEY);
  const response = await fetch(path, {
    method,
    signal,
    headers: {
      ...(key ? { "X-Api-Key": key } : {}),
      ...(body ? { "Content-Type": "application/json" } : {}),
    },
    body: body && JSON.stringify(body),
  });
  if (!response.ok) {
    const said = await response.json().catch(() => ({}));
    const error = said.error?.message ?? said.error ?? `status ${response.status}`;
    throw new Refused(error, response.status);
  }
  return response;
}

// Yields the lines of a streamed response.
export async function* lines(response) {
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { done, value } = await reader.read();
    if (done) {
      break;
    }
    const parts = (rest + value).split("\n");
    rest = parts.pop();
    yield* parts;
  }
  if (rest) {
    yield rest;
  }
}

// Yields the objects of an NDJSON stream; an error in it is thrown.
export async function* objects(response) {
  for await (const line of lines(response)) {
    if (line.trim()) {
      const object = JSON.parse(line);
      if (object.error) {
        throw new Refused(object.error, 200);
      }
      yield object;
    }
  }
}
