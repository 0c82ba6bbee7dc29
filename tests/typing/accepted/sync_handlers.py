"""Verbs of sync handlers return values, and begun ones the futures of them."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, assert_type

from howdah import (
    Context,
    JsonSerde,
    ObjectSharedContext,
    RunOptions,
    Service,
    VirtualObject,
    Workflow,
    blocking,
)

shop = Service("Shop")
seats = VirtualObject("Seats")
signup = Workflow("Signup")


@dataclass
class Order:
    seat: str


@seats.handler()
def buy(ctx: blocking.ObjectContext, order: Order) -> int:
    assert_type(ctx.get("holder", type_hint=str), str | None)
    assert_type(ctx.get("names", JsonSerde(list[str])), list[str] | None)
    assert_type(ctx.get("anything"), Any | None)
    assert_type(ctx.begin.get("holder", type_hint=str), blocking.DurableFuture[str | None])
    assert_type(ctx.state_keys(), list[str])
    ctx.set("holder", ctx.key())
    ctx.clear("holder")
    ctx.clear_all()
    return 1


@seats.handler(kind="shared")
async def history(ctx: ObjectSharedContext) -> list[str]:
    return []


@shop.handler()
def render(ctx: blocking.Context, order: Order) -> bytes:
    return order.seat.encode()


@shop.handler()
async def ping(ctx: Context) -> float:
    assert_type(await ctx.service_call(render, Order("2B")), bytes)
    assert_type(await ctx.object_call(buy, "2B", Order("2B")), int)
    return 1.0


@shop.handler()
def checkout(ctx: blocking.Context, order: Order) -> str:
    assert_type(ctx.object_call(buy, key=order.seat, arg=order), int)
    assert_type(ctx.object_call(history, order.seat), list[str])
    assert_type(ctx.service_call(render, order), bytes)
    assert_type(ctx.service_call(ping), float)
    assert_type(ctx.workflow_call(run, "joe", "joe@example.com"), bool)
    assert_type(ctx.generic_call("Shop", "render", b"{}"), bytes)
    future = ctx.begin.object_call(buy, key=order.seat, arg=order)
    assert_type(future, blocking.DurableCallFuture[int])
    assert_type(future.result(), int)
    assert_type(future.invocation_id(), str)
    assert_type(ctx.begin.object_call(history, order.seat).result(), list[str])
    assert_type(ctx.begin.service_call(ping).result(), float)
    assert_type(ctx.begin.scope("eu").service_call(ping).result(), float)
    assert_type(ctx.scope("eu").service_call(ping), float)
    assert_type(ctx.begin.workflow_call(run, "joe", "x").result(), bool)
    assert_type(ctx.begin.generic_call("Shop", "render", b"").result(), bytes)
    sent = ctx.object_send(buy, key=order.seat, arg=order, send_delay=timedelta(minutes=1))
    assert_type(sent, blocking.SendHandle)
    assert_type(ctx.service_send(ping), blocking.SendHandle)
    assert_type(ctx.workflow_send(run, "joe", "x"), blocking.SendHandle)
    sent.cancel_invocation()
    return sent.invocation_id()


async def charge(cents: int) -> int:
    return cents


def receipt(cents: int) -> str:
    return str(cents)


def steps(ctx: blocking.Context) -> None:
    assert_type(ctx.run("charge", charge, args=(5,)), int)
    assert_type(ctx.run("receipt", receipt, args=(5,), max_attempts=3), str)
    assert_type(ctx.run_typed("receipt", receipt, RunOptions[str](max_attempts=3), 5), str)
    assert_type(ctx.run_typed("charge", charge, RunOptions[int](), cents=5), int)
    assert_type(ctx.begin.run("charge", charge, args=(5,)), blocking.DurableFuture[int])
    assert_type(ctx.begin.run("receipt", receipt, args=(5,)).result(), str)
    assert_type(ctx.begin.run_typed("receipt", receipt, RunOptions[str](), 5).result(), str)
    assert_type(ctx.time(), float)
    assert_type(ctx.begin.sleep(timedelta(seconds=1)), blocking.DurableFuture[None])


@signup.main()
def run(ctx: blocking.WorkflowContext, email: str) -> bool:
    promise = ctx.promise("click", type_hint=Order)
    assert_type(promise, blocking.DurablePromise[Order])
    assert_type(promise.value(), Order)
    assert_type(promise.peek(), Order | None)
    promise.resolve(Order("2B"))
    assert_type(ctx.begin.promise("click", type_hint=Order).result(), Order)
    return True


def waits(ctx: blocking.Context) -> None:
    assert_type(ctx.awakeable(type_hint=Order), tuple[str, blocking.DurableFuture[Order]])
    assert_type(ctx.signal("go", type_hint=int), int)
    assert_type(ctx.begin.signal("go", type_hint=int).result(), int)
    assert_type(ctx.attach_invocation("id", type_hint=bool), bool)
    assert_type(ctx.signal("go"), Any)
    one, two = ctx.begin.sleep(timedelta(0)), ctx.begin.run("receipt", receipt, args=(5,))
    assert_type(blocking.gather(one, two), list[blocking.DurableFuture[Any]])
    assert_type(blocking.as_completed(one, two), Iterator[blocking.DurableFuture[Any]])
    blocking.select(one=one, two=two)
    blocking.wait_completed(one, two)
    ctx.resolve_awakeable("id", Order("2B"))


def a_main_handler_may_do_what_all_others_may(ctx: blocking.WorkflowContext) -> None:
    contexts: list[blocking.Context] = [ctx]
    exclusive: blocking.ObjectContext = ctx
    shared: blocking.WorkflowSharedContext = ctx
    assert len({exclusive, shared, *contexts}) == 1
