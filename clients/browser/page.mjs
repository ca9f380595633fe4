/** The page: the bundle named by `?bundle=ADDRESS` (by default `bundle/` beside the page) runs here, in WebAssembly; `&format=` names a format. */

import { load } from "../javascript/browser.mjs";

const form = document.querySelector("form");
const output = document.querySelector("output");
const wished = new URLSearchParams(location.search);

/** Say what a failure is, and do what `task` does otherwise. */
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
  const [prediction] = await classifier.classify([{ text: form.text.value, context: form.context.value }]);
  const table = document.querySelector("#answer");
  table.replaceChildren();
  for (const [task, values] of Object.entries(prediction.probabilities)) {
    for (const [label, value] of Object.entries(values).sort((a, b) => b[1] - a[1]).slice(0, 3)) {
      const row = table.insertRow();
      for (const text of [task, label, `${(100 * value).toFixed(1)} %`]) row.insertCell().textContent = text;
      row.insertCell().append(Object.assign(document.createElement("meter"), { value }));
    }
  }
  return `${(performance.now() - began).toFixed(0)} ms`;
}

async function replay(classifier) {
  const { inputs, largest, differing } = await classifier.verify();
  return `${inputs} Eingaben, größte Abweichung ${largest.toExponential(2)}, andere Antworten: ${differing}`;
}
