// Three steps, as `steps.py` has them, written with the TypeScript SDK for Restate.
//
//   node steps_sdk.mjs FOLDER PORT
//
// FOLDER is where the SDK is installed. Node 20 has no Promise.withResolvers, which the SDK needs.

import { createRequire } from "node:module";

Promise.withResolvers ??= function () {
  let resolve, reject;
  const promise = new this((...both) => ([resolve, reject] = both));
  return { promise, resolve, reject };
};

const [folder, port] = process.argv.slice(2);
const restate = createRequire(`${folder}/`)("@restatedev/restate-sdk");

const step = async () => ({ result: "ok" });

const steps = restate.service({
  name: "Steps",
  handlers: {
    three: async (ctx, text) => {
      await ctx.run("first", step);
      await ctx.run("second", step);
      await ctx.run("third", step);
      return text;
    },
  },
});

restate.serve({ services: [steps], port: Number(port) });
