"""The proxy: judges each call, decides its fate, passes on what is left, and remembers what came back."""

from __future__ import annotations

import asyncio
import json
import time
from collections import Counter
from collections.abc import Awaitable
from dataclasses import asdict, replace
from typing import Any

from aiohttp import ClientError, ClientSession, ClientTimeout, TCPConnector, web

from tests.brokers.strict import wire
from tests.brokers.strict.attempts import ATTEMPT, Attempts
from tests.brokers.strict.call import Call
from tests.brokers.strict.faults import MESSAGING, Fate, Fates, Faults
from tests.brokers.strict.judging import Verdict, judge
from tests.brokers.strict.places import Places
from tests.brokers.strict.raw import discarded
from tests.brokers.strict.receipts import Receipts
from tests.brokers.strict.refusing import Parameters
from tests.brokers.strict.waiting import Waiting
from tests.brokers.strict.wire import Answer

NOTHING = Fate()
LONGEST = 20
"""Seconds that a receive may wait; more is refused."""
OWN = "/.strict/"
"""Where the proxy itself is spoken to."""
KEPT = ("Content-Type", "Authorization", "X-Amz-Target", "X-Amz-Date", "x-amzn-query-mode", "Host")
SETTING = ("CreateQueue", "SetQueueAttributes", "CreateTopic", "SetTopicAttributes")
SIGNED = "AWS4-HMAC-SHA256 Credential=key/20260101/us-east-1/{}/aws4_request, SignedHeaders=host, Signature=0"


class Proxy:
    """In front of one emulator; all of it in one event loop."""

    def __init__(self, to: str, session: ClientSession, calls: int) -> None:
        """calls: at once."""
        self.to, self.session, self.turns = to, session, asyncio.Semaphore(calls)
        self.places, self.receipts, self.waiting = Places(), Receipts(), Waiting()
        self.attempts = Attempts(self.receipts)
        self.fates = Fates(Faults())
        self.calls: Counter[tuple[str, str]] = Counter()
        self.entries: Counter[tuple[str, str]] = Counter()

    async def handle(self, request: web.Request) -> web.StreamResponse:
        body = await request.read()
        if request.path.startswith(OWN):
            return await self.own(request.path.removeprefix(OWN), body)
        headers = {name: request.headers[name] for name in KEPT if name in request.headers}
        if "/sts/" in headers.get("Authorization", ""):  # whose account it is, we do not judge
            return await self.answered(request, self.forward(body, headers))
        try:
            call = wire.read(request.headers, body)
        except (wire.Unclear, ValueError) as problem:
            return web.Response(status=400, text=f"The strict proxy does not understand this request: {problem}")
        self.calls[call.action, call.target] += 1
        self.entries[call.action, call.target] += len(call.entries) if call.batch else 1
        fate = self.fates.next(call)
        if call.action == "ReceiveMessage":
            return await self.answered(request, self.receive(call, fate, headers, request), fate)
        return await self.answered(request, self.carry_out(call, fate, headers), fate)

    async def receive(self, call: Call, fate: Fate, headers: dict[str, str], request: web.Request) -> Answer:
        """As long as it shall wait, while somebody waits."""

        async def look() -> Answer | None:
            brought = None if fate.refusal else self.attempts.again(call, time.monotonic())
            if brought:
                await self.hide(call, brought.answer, self.visibility(call))
            answer = brought.answer if brought else await self.carry_out(once, fate, headers)
            if answer.status != 200:
                return answer
            if b'"Messages"' not in answer.body:
                return None
            self.attempts.remember(call, answer, time.monotonic())
            return answer

        def gone() -> bool:
            return request.transport is None or request.transport.is_closing()

        seconds = call.parameters.get("WaitTimeSeconds", 0)
        once = replace(call, parameters=_for_now(call.parameters), raw=None)
        found = await self.waiting.receive(call.target, seconds, look, gone)
        if found is not None and found.status == 200 and gone():
            if ATTEMPT not in call.parameters:  # else whoever tries again has it
                await self.hide(call, found, 0)  # AWS may keep it until its time is over: that would be left to chance
                self.waiting.tell()
            raise ConnectionResetError
        return found or wire.done(call)

    async def hide(self, call: Call, answer: Answer, seconds: float) -> None:
        """From now on, for so many seconds, what a receive has brought."""
        handles = [message["ReceiptHandle"] for message in json.loads(answer.body)["Messages"]]
        entries = [
            {"Id": str(n), "ReceiptHandle": each, "VisibilityTimeout": seconds} for n, each in enumerate(handles)
        ]
        parameters = {"QueueUrl": call.parameters["QueueUrl"], "Entries": entries}
        await self.ask(Call("sqs", "ChangeMessageVisibilityBatch", parameters))
        for handle in handles:
            self.receipts.changed(handle, seconds, time.monotonic())

    def visibility(self, call: Call) -> float:
        found: float = call.parameters.get("VisibilityTimeout", self.places.find("sqs", call.target).visibility)
        return found

    async def answered(self, request: web.Request, asked: Awaitable[Answer], fate: Fate = NOTHING) -> web.Response:
        try:
            answer = await asked
        except (ClientError, OSError):
            return self.cut(request)  # the emulator is down, and so are we
        await asyncio.sleep(fate.seconds)
        if fate.cut:
            return self.cut(request)
        return web.Response(status=answer.status, body=answer.body, headers=answer.headers)

    async def carry_out(self, call: Call, fate: Fate, headers: dict[str, str]) -> Answer:
        if fate.refusal:
            return wire.refused(call, fate.refusal)
        verdict = judge(call, self.places.find(call.service, call.target), self.receipts, time.monotonic())
        if verdict.whole:
            return wire.refused(call, verdict.whole)
        failed = {**fate.failed, **verdict.failed}
        ignored = verdict.ignored | (await discarded(call, self.ask) if call.service == "sns" else frozenset())
        ignored -= failed.keys()
        if not call.batch and ignored:
            return wire.done(call)
        return await self.pass_on(call, Verdict(None, failed, ignored), headers)

    async def pass_on(self, call: Call, verdict: Verdict, headers: dict[str, str]) -> Answer:
        """What is left of the call, and one answer for all of it."""
        left = call.without({*verdict.failed, *verdict.ignored})
        answer = await self.send(left, headers) if left.entries else Answer(200, b"", {"Content-Type": wire.JSON})
        if answer.status != 200:
            return answer
        if call.action == "ReceiveMessage" and not json.loads(answer.body).get("Messages"):
            return wire.done(call)  # AWS names nothing where there is nothing, and not an empty list
        self.learn(left, answer)
        return answer if left is call else wire.merged(call, answer, verdict.ignored, verdict.failed)

    async def ask(self, call: Call) -> Answer:
        """A call of the proxy's own."""
        headers = {"Authorization": SIGNED.format(call.service)}
        if call.service == "sqs":
            headers |= {"Content-Type": wire.JSON, "X-Amz-Target": f"AmazonSQS.{call.action}"}
        else:
            headers |= {"Content-Type": "application/x-www-form-urlencoded; charset=utf-8"}
        return await self.send(call, headers)

    async def send(self, call: Call, headers: dict[str, str]) -> Answer:
        return await self.forward(wire.write(call), headers)

    async def forward(self, body: bytes, headers: dict[str, str]) -> Answer:
        async with self.turns, self.session.post(self.to, data=body, headers=headers) as answer:
            kept = {
                name: value
                for name, value in answer.headers.items()
                if name.lower().startswith(("content-type", "x-amzn"))
            }
            return Answer(answer.status, await answer.read(), kept)

    def learn(self, call: Call, answer: Answer) -> None:
        """Remember what was set, received, extended and deleted."""
        now, place = time.monotonic(), self.places.find(call.service, call.target)
        if call.action in MESSAGING and call.action != "ReceiveMessage":
            self.waiting.tell()
        if call.action in SETTING:
            attributes = call.parameters.get("Attributes") or {}
            if "AttributeName" in call.parameters:
                attributes = {call.parameters["AttributeName"]: call.parameters.get("AttributeValue", "")}
            self.places.learn(place, attributes)
        elif call.action == "ReceiveMessage":
            visibility = self.visibility(call)
            for message in json.loads(answer.body)["Messages"]:
                self.receipts.received(place, message["MessageId"], message["ReceiptHandle"], visibility, now)
        elif call.action.startswith(("DeleteMessage", "ChangeMessageVisibility")):
            done = {row["Id"] for row in wire.successful(call, answer)} if call.batch else {""}
            for entry in call.entries:
                if entry.get("Id", "") in done:
                    self.settled(entry, now)

    def settled(self, entry: Any, now: float) -> None:
        if "VisibilityTimeout" in entry:
            self.receipts.changed(entry["ReceiptHandle"], entry["VisibilityTimeout"], now)
        else:
            self.receipts.deleted(entry["ReceiptHandle"])

    async def own(self, what: str, body: bytes) -> web.Response:
        """`faults` sets them; `calls` tells which came, and `forget` sets that to nothing; `hold` and `release`: receives."""
        if what == "faults":
            given = json.loads(body)
            self.fates = Fates(Faults(**{**given, "actions": tuple(given["actions"])}))
        elif what == "forget":
            self.calls.clear()
            self.entries.clear()
        elif what == "hold":
            await self.waiting.hold()
        elif what == "release":
            self.waiting.release()
        elif what != "calls":
            return web.Response(
                status=404, text=f"There is no {OWN}{what}: ask for faults, calls, forget, hold or release."
            )
        counted = [
            [action, target, times, self.entries[action, target]] for (action, target), times in self.calls.items()
        ]
        return web.json_response(
            {"calls": counted, "injected": self.fates.injected, "faults": asdict(self.fates.faults)}
        )

    def cut(self, request: web.Request) -> web.Response:
        """Close the connection without an answer."""
        if request.transport is not None:
            request.transport.abort()
        return web.Response(status=503)


def _for_now(receive: Parameters) -> Parameters:
    """Those of a receive that does not wait, without what the emulators do not understand."""
    waits = {"WaitTimeSeconds": 0} if 0 < receive.get("WaitTimeSeconds", 0) <= LONGEST else {}
    return {name: value for name, value in receive.items() if name != ATTEMPT} | waits


async def serve(to: str, calls: int) -> None:
    """Until the process ends; prints the port first."""
    connector = TCPConnector(limit=0)
    async with ClientSession(connector=connector, timeout=ClientTimeout(total=None)) as session:
        application = web.Application(client_max_size=64 * 1024 * 1024)
        application.router.add_route("*", "/{tail:.*}", Proxy(to, session, calls).handle)
        runner = web.AppRunner(application, access_log=None)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        print(runner.addresses[0][1], flush=True)
        await asyncio.Event().wait()
