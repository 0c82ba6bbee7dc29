// The services of the acceptance tests, written with the official TypeScript SDK, as Node runs it
// without a compiler. What each does is described in acceptance/services.py, whose names these are.
//
// Three servers: over HTTP/2 both ways, over HTTP/1.1 request by request, and one that tells the
// tests what was executed. Their ports are printed when all of them listen.

import http from "node:http";
import http2 from "node:http2";
import * as restate from "@restatedev/restate-sdk";

const { RestatePromise, TerminalError } = restate;
const { shared } = restate.handlers.object;

// Node has it from version 22 on.
Promise.withResolvers ??= function withResolvers() {
  const made = {};
  made.promise = new Promise((resolve, reject) => Object.assign(made, { resolve, reject }));
  return made;
};

const effects = new Map();
const executed = (name) => effects.get(name) ?? 0;
const count = (name) => {
  effects.set(name, executed(name) + 1);
  return executed(name);
};

const enableLazyState = process.env.LAZY_STATE === "yes";
const FAST = { retryPolicy: { initialInterval: 1 } };
const KEYED = { ...FAST, enableLazyState };
const ONCE = { retryPolicy: { initialInterval: 1, maxAttempts: 1, onMaxAttempts: "kill" } };
const PAUSING = { initialInterval: 1, maxAttempts: 3, onMaxAttempts: "pause" };
const IN_VAIN = 3_600_000;

const json = (text) => new TextEncoder().encode(text);
const text = (bytes) => new TextDecoder().decode(bytes);

// Objects with state.

const Counter = { name: "Counter" };
const Names = { name: "Names" };

async function add(ctx, number) {
  const old = (await ctx.get("total")) ?? 0;
  count(ctx.key);
  ctx.set("total", old + number);
  return { old, new: old + number };
}

const counter = restate.object({
  ...Counter,
  handlers: {
    add,
    add_forgetfully: restate.handlers.object.exclusive({ idempotencyRetention: 1000 }, add),
    total: shared(async (ctx) => (await ctx.get("total")) ?? 0),
    add_then_fail: async (ctx, message) => {
      ctx.set("total", ((await ctx.get("total")) ?? 0) + 1);
      throw new TerminalError(message);
    },
  },
  options: KEYED,
});

const names = restate.object({
  ...Names,
  handlers: {
    append: async (ctx, name) => ctx.set("all", [...((await ctx.get("all")) ?? []), name]),
    listed: shared(async (ctx) => (await ctx.get("all")) ?? []),
    put: async (ctx, entries) => {
      for (const [name, value] of Object.entries(entries)) ctx.set(name, value);
    },
    clear_all: async (ctx) => {
      const found = await ctx.stateKeys();
      ctx.clearAll();
      return found.sort();
    },
    everything: shared(async (ctx) => {
      const found = {};
      for (const name of await ctx.stateKeys()) found[name] = await ctx.get(name);
      return found;
    }),
  },
  options: KEYED,
});

// Calls that are made for others.

const wantedOf = (wanted) => ({
  service: wanted.service,
  method: wanted.handler,
  key: wanted.key,
  parameter: json(wanted.argument),
  idempotencyKey: wanted.idempotency_key,
});

const proxy = restate.service({
  name: "Proxy",
  handlers: {
    call: async (ctx, wanted) => text(await ctx.genericCall(wantedOf(wanted))),
    send: async (ctx, wanted) => {
      const sent = [];
      for (let number = 0; number < (wanted.count ?? 1); number++)
        sent.push(ctx.genericSend({ ...wantedOf(wanted), delay: wanted.delay_ms }));
      const ids = [];
      for (const handle of sent) ids.push(await handle.invocationId);
      return ids;
    },
    upper: restate.handlers.handler(
      { accept: "*/*", input: restate.serde.binary, output: restate.serde.binary },
      async (ctx, body) => body.map((byte) => (byte >= 97 && byte <= 122 ? byte - 32 : byte)),
    ),
    headers: async (ctx) => Object.fromEntries(ctx.request().headers),
    count_effect: async (ctx, name) => count(name),
    call_workflow: async (ctx, key) => {
      try {
        return await ctx.workflowClient({ name: "Block" }, key).run("called");
      } catch (error) {
        if (!(error instanceof TerminalError)) throw error;
        return `${error.code} ${error.message}`;
      }
    },
  },
  options: FAST,
});

const hidden = restate.service({
  name: "Hidden",
  handlers: { secret: async () => "secret" },
  options: { ingressPrivate: true },
});

const ordering = restate.service({
  name: "Ordering",
  handlers: {
    issue: async (ctx, plan) => {
      const calls = [];
      plan.verbs.forEach((verb, number) => {
        if (verb === "call") calls.push(ctx.objectClient(Names, plan.key).append(`${number}`));
        else ctx.objectSendClient(Names, plan.key).append(`${number}`);
      });
      for (const call of calls) await call;
    },
  },
  options: FAST,
});

// What is cancelled and killed.

const lock = restate.object({
  name: "Lock",
  handlers: {
    hold: async (ctx, operation) => {
      if (operation === "call")
        await ctx.objectClient({ name: "Lock" }, `${ctx.key}-deeper`).hold("awakeable");
      else if (operation === "sleep") await ctx.sleep(IN_VAIN);
      else await ctx.awakeable().promise;
    },
    is_unlocked: async () => true,
  },
  options: KEYED,
});

const runner = restate.object({
  name: "Runner",
  handlers: {
    start: async (ctx, operation) => {
      try {
        await ctx.objectClient({ name: "Lock" }, ctx.key).hold(operation);
      } catch (error) {
        if (error instanceof TerminalError) ctx.set("cancelled", error.code);
        throw error;
      }
    },
    verify: async (ctx) => await ctx.get("cancelled"),
    cancel: shared(async (ctx, id) => ctx.cancel(id)),
    compensate: async (ctx) => {
      const done = [await ctx.run("do", () => "done")];
      try {
        await ctx.sleep(IN_VAIN);
      } catch (error) {
        if (!(error instanceof TerminalError)) throw error;
        done.push(await ctx.run("undo", () => "undone"));
        done.push(`${(await ctx.objectClient(Counter, ctx.key).add(1)).new}`);
      }
      return done;
    },
  },
  options: KEYED,
});

const tree = restate.object({
  name: "Tree",
  handlers: {
    grow: async (ctx, depth) => {
      const [root] = ctx.key.split("-");
      if (depth) await ctx.objectClient({ name: "Tree" }, `${root}-${depth}`).grow(depth - 1);
      else await ctx.awakeable().promise;
    },
    is_free: async () => true,
  },
  options: KEYED,
});

// Waiting for several things.

async function firstSucceeded(futures) {
  try {
    return await RestatePromise.any(futures);
  } catch (error) {
    if (!(error instanceof AggregateError)) throw error;
    throw new TerminalError(error.errors.map((one) => one.message).join(", "));
  }
}

const told = (settled) =>
  settled
    .map((one) => (one.status === "fulfilled" ? `ok:${one.value}` : `err:${one.reason.message}`))
    .join("|");

const fail = () => {
  throw new TerminalError("fail");
};

function awakeables(ctx, number) {
  const made = Array.from({ length: number }, () => ctx.awakeable());
  ctx.set("ids", made.map((one) => one.id));
  return made.map((one) => one.promise);
}

const waiting = restate.object({
  name: "Waiting",
  handlers: {
    ids: shared(async (ctx) => (await ctx.get("ids")) ?? []),
    resolve: shared(async (ctx, [id, value]) => ctx.resolveAwakeable(id, value)),
    reject: shared(async (ctx, [id, reason]) => ctx.rejectAwakeable(id, reason)),
    one: async (ctx) => await awakeables(ctx, 1)[0],
    awakeable_or_sleep: async (ctx) =>
      await RestatePromise.race([
        awakeables(ctx, 1)[0].map(() => "awakeable"),
        ctx.sleep(100).map(() => "sleep"),
      ]),
    awakeable_or_timeout: async (ctx) => {
      try {
        return await awakeables(ctx, 1)[0].orTimeout(100);
      } catch (error) {
        if (!(error instanceof restate.TimeoutError)) throw error;
        throw new TerminalError("await-timeout", { errorCode: 408 });
      }
    },
    first_of_awakeables_and_steps: async (ctx) =>
      await firstSucceeded(awakeables(ctx, 3).flatMap((one) => [one, ctx.run("fail", fail)])),
  },
  options: KEYED,
});

const three = (ctx) => [0, 1, 2].map((number) => ctx.signal(`sig${number}`));

const signals = restate.service({
  name: "Signals",
  handlers: {
    first_success: async (ctx) => await firstSucceeded(three(ctx)),
    all_successes: async (ctx) => (await RestatePromise.all(three(ctx))).join("|"),
    all_told: async (ctx) => told(await RestatePromise.allSettled(three(ctx))),
    first_done: async (ctx) => await RestatePromise.race(three(ctx)),
    step_or_signal: async (ctx) =>
      await RestatePromise.race([ctx.run("value", () => "runval"), ctx.signal("never")]),
    failed_step_or_signal: async (ctx) =>
      await RestatePromise.any([ctx.run("fail", fail), ctx.signal("sig0")]),
    step_and_signal: async (ctx) =>
      (await RestatePromise.all([ctx.run("value", () => "runval"), ctx.signal("sig0")])).join("|"),
    steps_and_signal_told: async (ctx) =>
      told(
        await RestatePromise.allSettled([
          ctx.run("value", () => "runval"),
          ctx.signal("sig0"),
          ctx.run("fail", fail),
        ]),
      ),
    receive: async (ctx, number) => {
      const words = [];
      for (let n = 0; n < number; n++) words.push(await ctx.signal("word"));
      return words;
    },
    resolve_other: async (ctx, [id, name, value]) =>
      ctx.invocation(id).signal(name).resolve(value),
    reject_other: async (ctx, [id, name, reason]) =>
      ctx.invocation(id).signal(name).reject(reason),
    send_signal_and_attach: async (ctx) => {
      const sent = ctx.serviceSendClient({ name: "Signals" }).receive(1);
      const id = await sent.invocationId;
      ctx.invocation(id).signal("word").resolve("hello");
      return (await ctx.attach(id)).join("");
    },
  },
  options: FAST,
});

// Steps, sleeps and failures.

const steps = restate.service({
  name: "Steps",
  handlers: {
    three_local: async (ctx) => {
      let here = 0;
      for (let number = 0; number < 3; number++)
        await ctx.run(`step ${number}`, () => {
          here++;
          count(ctx.request().id);
        });
      return here;
    },
    succeeds_at: async (ctx, times) =>
      await ctx.run("step", () => {
        const number = count(ctx.request().id);
        if (number < times) throw new Error("not yet");
        return number;
      }),
    fails_after: async (ctx, times) => {
      const step = () => {
        count(ctx.request().id);
        throw new Error("broken");
      };
      try {
        await ctx.run("step", step, { maxRetryAttempts: times, initialRetryInterval: 1 });
      } catch (error) {
        if (!(error instanceof TerminalError)) throw error;
        return `${executed(ctx.request().id)}: ${error.message}`;
      }
    },
    nap: async (ctx, milliseconds) => await ctx.sleep(milliseconds),
    naps: async (ctx, lengths) =>
      (await RestatePromise.all(lengths.map((length) => ctx.sleep(length)))).length,
    wide: async (ctx, size) => {
      const made = Array.from({ length: 10 }, () => ctx.run("wide", () => "x".repeat(size)));
      return (await RestatePromise.all(made)).reduce((sum, one) => sum + one.length, 0);
    },
  },
  options: FAST,
});

const sad = (message) =>
  new TerminalError(message, {
    errorCode: 418,
    metadata: { key1: "value1", key2: "value2" },
  });

const failing = restate.object({
  name: "Failing",
  handlers: {
    terminally: async (ctx, message) => {
      throw sad(message);
    },
    through_a_call: async (ctx, message) =>
      await ctx.objectClient({ name: "Failing" }, `${ctx.key}-deeper`).terminally(message),
    through_a_step: async (ctx, message) =>
      await ctx.run("step", () => {
        throw sad(message);
      }),
    until_attempt_four: async (ctx) => {
      const number = count(ctx.key);
      if (number < 4) throw new Error(`attempt ${number}`);
      return number;
    },
    until_repaired: restate.handlers.object.exclusive({ retryPolicy: PAUSING }, async () => {
      if (!executed("repaired")) throw new Error("out of order");
      return "repaired";
    }),
    run_then_fail: async (ctx, message) => {
      const drawn = await ctx.run("draw", () => `draw ${count(ctx.key)}`);
      if (!executed(`${ctx.key} may succeed`)) throw new TerminalError(message);
      return drawn;
    },
  },
  options: KEYED,
});

// Code that does something else on every attempt.

const isOdd = (ctx) => count(ctx.key) % 2 === 1;

async function countAfter(ctx) {
  await ctx.sleep(20);
  ctx.objectSendClient(Counter, `${ctx.key}-counter`).add(1);
}

const changing = restate.object({
  name: "Changing",
  handlers: {
    sleep_or_call: async (ctx) => {
      if (isOdd(ctx)) await ctx.sleep(20);
      else await ctx.objectClient(Counter, ctx.key).total();
      await countAfter(ctx);
    },
    another_handler: async (ctx) => {
      if (isOdd(ctx)) await ctx.objectClient(Counter, ctx.key).total();
      else await ctx.objectClient(Names, ctx.key).listed();
      await countAfter(ctx);
    },
    another_target: async (ctx) => {
      ctx.objectSendClient(Counter, isOdd(ctx) ? "a" : "b").total();
      await countAfter(ctx);
    },
    another_key: async (ctx) => {
      ctx.set(isOdd(ctx) ? "a" : "b", "value");
      await countAfter(ctx);
    },
  },
  options: { ...ONCE, enableLazyState },
});

// Workflows.

const block = restate.workflow({
  name: "Block",
  handlers: {
    run: async (ctx, name) => {
      count(`${ctx.key} run`);
      ctx.set("state", `waits for ${name}`);
      const found = await ctx.promise("answer");
      ctx.set("state", "done");
      return `${name} ${found}`;
    },
    unblock: async (ctx, answer) => await ctx.promise("answer").resolve(answer),
    refuse: async (ctx, message) => await ctx.promise("answer").reject(message),
    state: async (ctx) => await ctx.get("state"),
    peek: async (ctx) => await ctx.promise("answer").peek(),
    wait_beside: async (ctx) => await ctx.promise("answer"),
  },
  options: KEYED,
});

// The other side of near_services.py, which howdah executes itself.

const Near = { name: "Near" };
const NearCaller = { name: "NearCaller" };

const far = restate.object({
  name: "Far",
  handlers: {
    add: async (ctx, number) => {
      const total = ((await ctx.get("total")) ?? 0) + number;
      ctx.set("total", total);
      return total;
    },
    countdown: async (ctx, number) => {
      if (!number) return ["far 0"];
      const below = await ctx.objectClient(Near, `${ctx.key}-`).countdown(number - 1);
      return [`far ${number}`, ...below];
    },
    hold: async (ctx, depth) => {
      ctx.set("cancelled", false);
      try {
        if (depth) await ctx.objectClient(Near, `${ctx.key}-`).hold(depth - 1);
        else await ctx.sleep(IN_VAIN);
      } catch (error) {
        if (error instanceof TerminalError) ctx.set("cancelled", true);
        throw error;
      }
    },
    was_cancelled: async (ctx) => await ctx.get("cancelled"),
    ask: async (ctx) => {
      const { id, promise } = ctx.awakeable();
      ctx.serviceSendClient(NearCaller).resolve([id, "from nearby"]);
      return await promise;
    },
    total: shared(async (ctx) => (await ctx.get("total")) ?? 0),
  },
  options: FAST,
});

const farCaller = restate.service({
  name: "FarCaller",
  handlers: {
    resolve: async (ctx, [name, value]) => ctx.resolveAwakeable(name, value),
    fail: async (ctx, message) => {
      throw new TerminalError(message, { errorCode: 418, metadata: { key: "value" } });
    },
    catch: async (ctx, message) => {
      try {
        await ctx.serviceClient(NearCaller).fail(message);
      } catch (error) {
        if (!(error instanceof TerminalError)) throw error;
        return [error.code, error.message, error.metadata];
      }
      return [];
    },
    once: async (ctx, key) => {
      const wanted = { service: "Near", method: "add", key, parameter: json("1") };
      const calls = [1, 2].map(() => ctx.genericCall({ ...wanted, idempotencyKey: "once" }));
      return [text(await calls[0]), text(await calls[1])];
    },
    signal: async (ctx) => {
      const sent = ctx.serviceSendClient(NearCaller).receive();
      const started = ctx.invocation(await sent.invocationId);
      started.signal("word").resolve("hello");
      return await started.attach();
    },
    receive: async (ctx) => await ctx.signal("word"),
  },
  options: FAST,
});

// The servers.

const services = [
  counter, names, proxy, hidden, ordering, lock, runner, tree, waiting, signals, steps, failing,
  changing, block, far, farCaller,
];

const listening = (server) =>
  new Promise((resolve) => {
    server.listen(0, "127.0.0.1", () => resolve(server.address().port));
  });

// GET /NAME tells how often; PUT /NAME/NUMBER sets it.
const told_ = http.createServer((request, response) => {
  const [name, number] = request.url.slice(1).split("/").map(decodeURIComponent);
  if (request.method === "PUT") effects.set(name, Number(number));
  response.end(`${executed(name)}`);
});

const streaming = http2.createServer(
  restate.createEndpointHandler({ services, bidirectional: true }),
);
const answering = http.createServer(
  restate.createEndpointHandler({ services, bidirectional: false }),
);
console.log(
  `listening on ${await listening(streaming)} ${await listening(answering)} ` +
    `${await listening(told_)}`,
);
