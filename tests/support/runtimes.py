"""howdah as a runtime of endpoints that are elsewhere: a process without a program, asked over HTTP."""

from dataclasses import dataclass
from typing import Any

import httpx

from support.servers import HowdahProcess

NEAR = {"HOWDAH_ENDPOINT_ALLOW": "127.0.0.1"}


@dataclass
class Runtime:
    """A server without a program, asked over HTTP.

    Attributes:
        server: The process.
        http: A client of its ingress.
        admin: A client of its admin port.
    """

    server: HowdahProcess
    http: httpx.Client
    admin: httpx.Client

    @classmethod
    def of(cls, server: HowdahProcess) -> "Runtime":
        http, admin = (
            httpx.Client(base_url=url, timeout=40, trust_env=False)
            for url in (server.ingress, server.admin)
        )
        return cls(server, http, admin)

    def register(self, uri: str, **facts: Any) -> dict[str, Any]:
        """Register an endpoint, and return the answer."""
        answer = self.admin.post("/deployments", json={"uri": uri, **facts})
        assert answer.status_code in (200, 201), answer.text
        registered: dict[str, Any] = answer.json()
        return registered

    def call(self, path: str, argument: Any = None, **headers: str) -> Any:
        """Call a handler that succeeds."""
        body: dict[str, Any] = {} if argument is None else {"json": argument}
        answer = self.http.post(f"/{path}", headers=headers, **body)
        assert answer.status_code == 200, (path, answer.text, self.server.said)
        return answer.json() if answer.content else None

    def send(self, path: str, argument: Any = None) -> str:
        """Send, and return the invocation's id."""
        answer = self.http.post(f"/{path}/send", json=argument)
        assert answer.status_code == 202, answer.text
        return str(answer.json()["invocationId"])

    def result(self, invocation_id: str) -> Any:
        """What an invocation that succeeds returns, once it does."""
        answer = self.http.get(f"/restate/attach/{invocation_id}")
        assert answer.status_code == 200, (answer.text, self.server.said)
        return answer.json() if answer.content else None

    def close(self) -> None:
        self.http.close()
        self.admin.close()
