// Orders and a stock, written with the TypeScript SDK for Restate and driven by howdah.
//
// This file knows nothing of howdah: `npm start` serves it wherever it runs, and howdah calls it over
// HTTP/2. Steps, state, calls and timers are recorded in Postgres, so an order is paid once and packed, or
// paid back, whichever of the two is killed in the middle. All of it at once, with a runtime of its own
// (Node 18 or newer):
//
//     pip install 'howdah[embedded]'
//     python examples/remote_typescript
//
// Then, in another terminal and the same folder:
//
//     howdah invoke Stock/pen/restock 100
//     howdah invoke Orders/place '{"article": "pen", "count": 30}'
//     howdah invoke Orders/place '{"article": "pen", "count": 999}'
//     howdah invoke Stock/pen/left
//
// What happened, in SQL (howdah sql "…"):
//
//     select target, input, status, outcome, failure from howdah.invocations where service = 'Orders';
//     select j.index, j.type, coalesce(j.name, j.target) as what, j.value, j.failure
//       from howdah.journal j
//       join howdah.invocations i on i.id = j.invocation_id
//      where i.service = 'Orders' order by i.created_at, j.index;
//     select key, value from howdah.state where service = 'Stock';
//     select name, uri, sdk_version, services from howdah.deployments where kind = 'remote';

import * as restate from "@restatedev/restate-sdk";

// The SDK uses what Node has from version 22 on.
Promise.withResolvers ??= function withResolvers<T>() {
  let resolve!: (value: T | PromiseLike<T>) => void;
  let reject!: (reason?: unknown) => void;
  const promise = new Promise<T>((one, other) => {
    [resolve, reject] = [one, other];
  });
  return { promise, resolve, reject };
};

interface Order {
  article: string;
  count: number;
}

const stock = restate.object({
  name: "Stock",
  handlers: {
    /** Add to what there is; one writer at a time for each article. */
    restock: async (ctx: restate.ObjectContext, count: number): Promise<number> => {
      const left = ((await ctx.get<number>("left")) ?? 0) + count;
      ctx.set("left", left);
      return left;
    },

    /** Take from it, if there is enough. */
    take: async (ctx: restate.ObjectContext, count: number): Promise<number> => {
      const left = ((await ctx.get<number>("left")) ?? 0) - count;
      if (left < 0)
        throw new restate.TerminalError(`there are only ${left + count} of ${ctx.key}`, {
          errorCode: 409,
        });
      ctx.set("left", left);
      return left;
    },

    /** What there is, also while somebody else writes. */
    left: restate.handlers.object.shared(
      async (ctx: restate.ObjectSharedContext): Promise<number> =>
        (await ctx.get<number>("left")) ?? 0,
    ),
  },
});

const orders = restate.service({
  name: "Orders",
  handlers: {
    /** Take the money, then the goods; and give the money back if there are none. */
    place: async (ctx: restate.Context, order: Order): Promise<string> => {
      const payment = await ctx.run("charge the card", () => charge(order));
      try {
        await ctx.objectClient(stock, order.article).take(order.count);
      } catch (error) {
        if (error instanceof restate.TerminalError)
          await ctx.run("pay back", () => payBack(payment));
        throw error;
      }
      await ctx.sleep({ milliseconds: 500 });
      return `parcel for ${payment}`;
    },
  },
});

/** Ask the bank; recorded, so that a replay does not ask again. */
function charge(order: Order): string {
  return `payment of ${order.count}`;
}

function payBack(payment: string): string {
  return `${payment}, paid back`;
}

restate.serve({ services: [stock, orders], port: Number(process.env.PORT ?? 9080) });
