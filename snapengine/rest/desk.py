"""Where requests are taken: who is it from, what does it mean, and who answers it: a read, a worker, a job."""

import asyncio
import secrets
import uuid

from snapengine import errors
from snapengine.engine import Engine
from snapengine.rest import answers, authority, bodies, doors, faults, jobs, message, page, reads, replies, target
from snapengine.rest.authority import Accounts, Signed, Who
from snapengine.rest.faults import Malformed
from snapengine.rest.hooks import Hooks
from snapengine.rest.index import Index
from snapengine.rest.logins import Doorman
from snapengine.rest.operations import Asked, Operations
from snapengine.rest.options import Options
from snapengine.rest.pace import Pace
from snapengine.rest.reads import Reader
from snapengine.rest.registry import RUNNING, Registry
from snapengine.rest.replies import Coded
from snapengine.rest.routes import Call, Match
from snapengine.rest.said import Said
from snapengine.rest.sessions import Sessions
from snapengine.rest.unsupported import WHY
from snapengine.rest.worker import failed


class Desk:
    """All that answers calls, put together."""

    def __init__(self, engine: Engine, index: Index, operations: Operations, options: Options) -> None:
        self._engine = engine
        self._index = index
        self._operations = operations
        self._options = options
        self._accounts = Accounts(engine.root)
        self._sessions = Sessions(engine.root, options.session_seconds)
        self._doorman = Doorman()
        self._pace = Pace()
        self.hooks = Hooks(options.web_hooks)
        self.registry = Registry(engine.root, operations, self.hooks)

    async def reply(self, said: Said, match: Match) -> Coded:
        """Answer a request that may mean these calls; errors are raised, for whoever tells them."""
        first = match.calls[0]
        if first.verb is not None:
            return await self._change(said, match)
        parameters = message.parameters(said.request)
        if first.open:
            return await self._at_the_door(said, first, await self._body(said, match))
        who = self._who(said)
        if first.special == "unsupported":
            raise faults.Unsupported(why=WHY[first.name])
        reader = Reader(self._engine, self._index, who.only, self._pace)
        if first.read is None:
            uuids = ",".join(target.every(parameters, "uuids")).split(",")
            reply = await reads.availability(reader, tuple(uuid for uuid in uuids if uuid))
            return replies.json(answers.document(reply, said.wants_schema))
        query = reads.narrowed(page.parse(parameters), match.at.get("uuid"))
        found = await first.read(reader, query)
        return replies.json(await answers.paced(found, not query.only_count, self._pace))

    async def _at_the_door(self, said: Said, call: Call, body: bodies.Body) -> Coded:
        """Answer a call that needs no authorization."""
        if isinstance(body, bodies.LogIn):
            opened = await doors.log_in(body, self._accounts, self._sessions, self._doorman)
            return replies.json(answers.document(opened, said.wants_schema))
        uuid = said.at["uuid"]
        if call.special == "job":
            return self._poll(said, uuid)
        if call.special == "valid":
            return replies.json(answers.document(doors.is_valid(uuid, self._accounts, self._sessions)))
        self._sessions.close(uuid)
        return replies.json(b"{}")

    def _poll(self, said: Said, uuid: str) -> Coded:
        outcome = self.registry.poll(uuid)
        if outcome is None:
            return replies.plain(404, "the job is unknown, or was forgotten")
        said.job = uuid
        return replies.accepted(b"{}") if outcome is RUNNING else replies.ended(outcome)

    async def _body(self, said: Said, match: Match) -> bodies.Body:
        """Return the body of a request that can mean one call only, and needs no authorization."""
        raw = await message.body(said.request, self._options.idle_seconds, message.AT_THE_DOOR)
        return message.meant(match, raw, message.parameters(said.request))[1]

    def _who(self, said: Said) -> Who:
        path = message.raw_path(said.request).removeprefix(target.BASE)
        signed = Signed(said.request.method, path, said.header("date"))
        who = authority.of(said.header("authorization"), signed, self._accounts, self._sessions)
        said.account = who.name
        return who

    async def _change(self, said: Said, match: Match) -> Coded:
        """Answer a call that changes something, at once or as a job."""
        job = said.header("x-job-uuid")
        if job is not None and not jobs.is_uuid(job):
            raise Malformed(400, "invalid header 'X-Job-UUID': give 32 letters or digits")
        hook = self.hooks.wanted(said.header("x-web-hook"))
        if job is None and (hook is not None or "respond-async" in (said.header("prefer") or "").lower()):
            job = secrets.token_hex(16)
        try:
            who = self._who(said)
            raw = await message.body(said.request, self._options.idle_seconds)
            call, body = message.meant(match, raw, message.parameters(said.request))
        except errors.Error as e:
            if job is None or (hook is not None and said.account is None):  # nobody unknown lets the server call
                raise
            self.registry.refuse(job, failed(e), hook)
            return self._accepted(said, job)
        said.name = call.name
        fresh = uuid.uuid4().hex
        asked = Asked(call, match.at, body, who, said.id, job or secrets.token_hex(16), fresh, said.wants_schema, hook)
        if job is not None:
            await self.registry.begin(asked)
            return self._accepted(said, job)
        return await self._awaited(said, asked)

    async def _awaited(self, said: Said, asked: Asked) -> Coded:
        """Answer a call when it is done; as a job where it takes longer than the window."""
        task = asyncio.create_task(self._operations.run(asked))
        await asyncio.wait({task}, timeout=self._options.window)
        if task.done():
            return replies.ended(task.result())
        await self.registry.adopt(asked, task)
        return self._accepted(said, asked.job)

    def _accepted(self, said: Said, job: str) -> Coded:
        said.job = job
        return replies.accepted(answers.document({"location": said.location(job)}))
