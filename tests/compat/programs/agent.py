"""An agent: a loop of model and tools, every step of which is recorded; no network."""

import json
from typing import Any, TypedDict

import howdah.restate as restate

agent = restate.VirtualObject("Agent")
tools = restate.Service("Tools", ingress_private=True)
asked: list[str] = []


class Message(TypedDict):
    role: str
    content: str


def model(messages: list[Message]) -> dict[str, Any]:
    """What a language model would answer, by rules."""
    asked.append(messages[-1]["content"])
    last = messages[-1]
    if last["role"] == "user":
        numbers = [int(word) for word in last["content"].split() if word.isdigit()]
        return {"tool": "add", "arguments": numbers}
    if last["role"] == "tool" and int(last["content"]) >= 100:
        return {"tool": "approve", "arguments": last["content"]}
    return {"answer": f"It is {last['content']}."}


@tools.handler()
async def add(ctx: restate.Context, numbers: list[int]) -> int:
    return sum(numbers)


@agent.handler()
async def chat(ctx: restate.ObjectContext, prompt: str) -> str:
    messages: list[Message] = await ctx.get("messages") or []
    messages.append({"role": "user", "content": prompt})
    while True:
        reply = await ctx.run_typed("model", model, restate.RunOptions(max_attempts=3), messages)
        match reply:
            case {"answer": str(answer)}:
                messages.append({"role": "assistant", "content": answer})
                ctx.set("messages", messages)
                return answer
            case {"tool": "add", "arguments": numbers}:
                result = await ctx.service_call(add, arg=numbers)
                messages.append({"role": "tool", "content": str(result)})
            case {"tool": "approve", "arguments": value}:
                approval_id, approval = ctx.awakeable(type_hint=bool)
                await ctx.run("ask a person", asked.append, args=(f"is {value} right?",))
                ctx.set("approval", approval_id)
                is_approved = await approval
                content = f"{value} (approved)" if is_approved else "a secret"
                messages.append({"role": "assistant", "content": content})


@agent.handler(kind="shared")
async def history(ctx: restate.ObjectSharedContext) -> str:
    return json.dumps(await ctx.get("messages") or [])


@agent.handler(kind="shared")
async def approval(ctx: restate.ObjectSharedContext) -> str | None:
    return await ctx.get("approval", type_hint=str)
