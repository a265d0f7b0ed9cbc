// Lets programs that name `globSync` of Node 22 load in Node 20. Nothing that is run here calls it.
// usage: node --import ./glob.mjs PROGRAM
import fs from "node:fs";
import { register } from "node:module";

const module = (text) => `data:text/javascript,${encodeURIComponent(text)}`;
const instead = module(`
  export * from "node:fs";
  export { default } from "node:fs";
  export const globSync = () => { throw new Error("globSync takes Node 22") };
`);
const hook = module(`
  export const resolve = (specifier, context, next) =>
    specifier === "fs" ? { url: ${JSON.stringify(instead)}, shortCircuit: true } : next(specifier, context);
`);
if (!fs.globSync) register(hook);
