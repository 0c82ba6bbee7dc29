"""Limits of concurrency: rules, and what they hold back."""

from uuid import uuid4

from support.commands import Cli


def test_what_a_rule_holds_back_is_shown(cli: Cli) -> None:
    scope = uuid4().hex
    assert cli.out("limits", "set", f"{scope}/*", "0", "--description", "none").startswith("set")
    held = cli.send("Payments/approve", "--scope", scope, "--limit-key", "joe")
    assert cli.status(held) == "held"
    places = cli.json("limits", "list")
    assert [place for place in places if place["scope"] == scope] == [
        {
            "place": scope, "scope": scope, "limit_key": None, "running": 0, "waiting": 1,
            "concurrency": None, "pattern": None, "available": None,
        },
        {
            "place": f"{scope}/joe", "scope": scope, "limit_key": "joe", "running": 0, "waiting": 1,
            "concurrency": 0, "pattern": f"{scope}/*", "available": 0,
        },
    ]  # fmt: skip
    assert f"{scope}/joe" in cli.out("limits", "list")
    described = cli.out("invocations", "describe", held)
    assert f"room in scope {scope}, limit key joe" in described
    rules = {rule["pattern"]: rule for rule in cli.json("limits", "rules")}
    rule = rules[f"{scope}/*"]
    assert (rule["concurrency"], rule["description"], rule["is_disabled"]) == (0, "none", False)
    assert "none" in cli.out("limits", "rules")

    assert "no such invocations" in cli.out(
        "invocations", "pause", "--service", "Payments", "--handler", "approve", "--yes"
    )
    cli.out("limits", "set", f"{scope}/*", "none")
    cli.out("signal", held, "approved", '"yes"')
    cli.wait_for(held, "succeeded")
    assert cli.out("limits", "delete", f"{scope}/*") == f"deleted {scope}/*\n"
    assert cli.out("limits", "delete", f"{scope}/*") == f"there is no rule {scope}/*\n"


def test_what_is_no_rule_is_said(cli: Cli) -> None:
    assert "'a b' is no pattern of a rule" in cli.refused("limits", "set", "a b", "1")
    ran = cli.run("limits", "set", "a", "many")
    assert (ran.returncode, "is not a number from 0 to" in ran.stderr) == (2, True)
    assert "is no scope" in cli.refused("send", "Payments/approve", "--scope", "a b")
    assert "needs a scope" in cli.refused("send", "Payments/approve", "--limit-key", "a")
