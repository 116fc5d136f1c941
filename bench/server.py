"""The measuring destination: one asyncio process that reads batches, answers per record, and reports what it got.

POST /batch {"records": [{"id": 1, ...}, ...]} -> {"results": [{"id": 1, "status": "ok"}, ...]}; ids with ``id % REJECT == 7``
are refused. GET /report -> rows, distinct ids, doubled ids, calls, keys per row (idempotency). GET /reset empties it.
"""

from __future__ import annotations

import argparse
import asyncio

import orjson

REJECT = 100


class State:
    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        self.seen: dict[int, int] = {}
        self.calls = 0
        self.rejected = 0


class Server(asyncio.Protocol):
    def __init__(self, state: State, reject: bool, delay: float) -> None:
        self.state, self.reject, self.delay = state, reject, delay
        self.buffer = bytearray()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.buffer += data
        while True:
            end = self.buffer.find(b"\r\n\r\n")
            if end < 0:
                return
            head = bytes(self.buffer[:end]).lower()
            length = 0
            where = head.find(b"content-length:")
            if where >= 0:
                length = int(head[where + 15 :].split(b"\r\n", 1)[0])
            if len(self.buffer) < end + 4 + length:
                return
            body = bytes(self.buffer[end + 4 : end + 4 + length])
            del self.buffer[: end + 4 + length]
            answer = self.answer(head, body)
            text = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(answer) + answer
            if self.delay and length:
                asyncio.get_running_loop().call_later(self.delay, self.transport.write, text)
            else:
                self.transport.write(text)

    def answer(self, head: bytes, body: bytes) -> bytes:
        state = self.state
        if head.startswith(b"get /reset"):
            state.reset()
            return b"{}"
        if head.startswith(b"get /report"):
            doubled = sum(count > 1 for count in state.seen.values())
            return orjson.dumps(
                {"rows": sum(state.seen.values()), "distinct": len(state.seen), "doubled": doubled, "calls": state.calls,
                 "rejected": state.rejected}
            )  # fmt: skip
        if not body:
            return b"{}"
        state.calls += 1
        results = []
        for record in orjson.loads(body)["records"]:
            number = record["id"]
            if self.reject and number % REJECT == 7:
                state.rejected += 1
                error = {"code": "INVALID", "message": f"Property 'score' value '{number}' is not valid", "field": "score"}
                results.append({"id": number, "status": "error", "error": error})
            else:
                state.seen[number] = state.seen.get(number, 0) + 1
                results.append({"id": number, "status": "ok"})
        return orjson.dumps({"results": results})


async def serve(arguments: argparse.Namespace) -> None:
    loop = asyncio.get_running_loop()
    state = State()
    server = await loop.create_server(
        lambda: Server(state, arguments.reject, arguments.delay_ms / 1000), "127.0.0.1", arguments.port
    )
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--reject", action="store_true")
    parser.add_argument("--delay-ms", type=float, default=0)
    asyncio.run(serve(parser.parse_args()))


if __name__ == "__main__":
    main()
