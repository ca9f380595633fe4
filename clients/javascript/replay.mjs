/** `node replay.mjs DIR [FORMAT]`: replays the bundle's golden.jsonl; exit code 1 if a probability differs by more than 1e-3. */

import { BundleError, load } from "./node.mjs";

const [folder, format] = process.argv.slice(2);
if (!folder) {
  console.error("usage: node replay.mjs DIR [FORMAT], where DIR is a bundle that `haltung export` has written");
  process.exit(2);
}
try {
  const classifier = await load(folder, { format });
  const { inputs, largest, differing, agrees } = await classifier.verify();
  console.log(`${inputs} inputs, largest difference ${largest.toExponential(2)}, labels that differ: ${differing}`);
  process.exitCode = agrees ? 0 : 1;
} catch (error) {
  if (!(error instanceof BundleError)) throw error;
  console.error(error.message);
  process.exitCode = 2;
}
