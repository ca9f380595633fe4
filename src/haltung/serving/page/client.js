// Talks to the server that the page came from. Addresses are relative, so that a proxy may serve it all under a folder.

/** An answer that is none: `status` (0 where there was no server), its own `sentence`, and `seconds` to wait where it names them. */
export class Failure extends Error {
  constructor(status, sentence = "", seconds = null) {
    super(sentence || `status ${status}`);
    Object.assign(this, { status, sentence, seconds });
  }
}

let key = "";

/** Show this key with each request from now on; it is kept in memory only. */
export function useKey(value) {
  key = value.trim();
}

// What reads an article: "events" where the server and its model know dyads.
let reader = "article";

/** Ask for the description of the model. */
export async function model() {
  const described = await ask("model", {});
  reader = described.events ? "events" : "article";
  return described;
}

/** Have an article read: {text, headline?, abstain?} → {segments: […]}, with dyads if it can. `signal` gives the request up. */
export function article(body, signal) {
  return ask(reader, { method: "POST", body: JSON.stringify(body), signal, headers: { "Content-Type": "application/json" } });
}

/** Ask an address of the server: the JSON of its answer, or a `Failure`. */
export async function ask(path, options) {
  const headers = { Accept: "application/json", ...options.headers, ...(key && { "X-API-Key": key }) };
  let response;
  try {
    response = await fetch(path, { ...options, headers, credentials: "same-origin" });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Failure(0);
  }
  const content = await response.json().catch(() => null);
  if (!response.ok || content === null) {
    throw new Failure(response.status, sentence(content), wait(response.headers.get("Retry-After")));
  }
  return content;
}

function sentence(content) {
  return typeof content?.error === "string" ? content.error : "";
}

// Seconds or a date (RFC 9110, 10.2.3).
function wait(header) {
  if (!header) return null;
  const seconds = /^\d+$/.test(header) ? Number(header) : (Date.parse(header) - Date.now()) / 1000;
  return Number.isFinite(seconds) && seconds > 0 ? Math.ceil(seconds) : null;
}
