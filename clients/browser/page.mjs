/** The page: runs the bundle named by `?bundle=ADDRESS` (by default `bundle/` beside the page) in WebAssembly; `&format=` names a format. */

import { load } from "../javascript/browser.mjs";

const form = document.querySelector("form");
const output = document.querySelector("output");
const wished = new URLSearchParams(location.search);

/** Show the result of `task`, or the message of its error. */
async function told(task) {
  try {
    output.value = await task();
  } catch (error) {
    output.value = error.message;
  }
}

await told(async () => {
  const began = performance.now();
  const classifier = await load(wished.get("bundle") ?? "bundle/", {
    format: wished.get("format") ?? undefined,
    wasm: "../javascript/node_modules/onnxruntime-web/dist/",
  });
  form.onsubmit = (event) => {
    event.preventDefault();
    told(() => classify(classifier));
  };
  form.replay.onclick = () => told(() => replay(classifier));
  for (const button of form.querySelectorAll("button")) button.disabled = false;
  return `Geladen in ${((performance.now() - began) / 1000).toFixed(1)} s (${classifier.format}).`;
});

async function classify(classifier) {
  const began = performance.now();
  const [before, text] = [form.context.value, form.text.value];
  const whole = classifier.kind === "articles";
  const article = () => sentences(text).map((sentence, position) => ({ text: sentence, article: "page", position, headline: before }));
  const segments = whole ? article() : [{ text, context: before }];
  const predictions = await classifier.classify(segments);
  const table = document.querySelector("#answer");
  table.replaceChildren();
  predictions.forEach((prediction, place) => {
    // Show the top three labels of a single text, and the top label of each sentence of an article.
    if (whole) table.insertRow().append(Object.assign(document.createElement("th"), { colSpan: 4, textContent: segments[place].text }));
    for (const [task, values] of Object.entries(prediction.probabilities)) {
      for (const [label, value] of Object.entries(values).sort((a, b) => b[1] - a[1]).slice(0, whole ? 1 : 3)) {
        const row = table.insertRow();
        for (const said of [task, label, `${(100 * value).toFixed(1)} %`]) row.insertCell().textContent = said;
        row.insertCell().append(Object.assign(document.createElement("meter"), { value }));
      }
    }
  });
  return `${(performance.now() - began).toFixed(0)} ms`;
}

// A full stop after these does not end a sentence: "am 3. Oktober", "z. B.", "Dr. Meier".
const ABBREVIATED = /(?:^|[\s(„»])(?:\d{1,2}|\p{L}|Abs|Art|bzw|ca|Dr|evtl|ggf|Mio|Mrd|Nr|Prof|sog|St|vgl)\.\s*$/u;

/** Approximate the sentences of a text: split each line where the browser finds a boundary. A blank text is one sentence. */
function sentences(text) {
  const out = [];
  for (const line of text.split("\n")) {
    let begun = "";
    for (const { segment } of new Intl.Segmenter("de", { granularity: "sentence" }).segment(line)) {
      begun += segment;
      if (ABBREVIATED.test(begun)) continue;
      out.push(begun);
      begun = "";
    }
    out.push(begun);
  }
  const found = out.map((sentence) => sentence.trim()).filter((sentence) => sentence);
  return found.length ? found : [text];
}

async function replay(classifier) {
  const { inputs, largest, differing } = await classifier.verify();
  return `${inputs} Eingaben, größte Abweichung ${largest.toExponential(2)}, andere Antworten: ${differing}`;
}
