"""The whole engine against a model: random sessions, several open at once, and power losses.

After every step the live queues (with what sessions took and components hold) are those of the
model, and those of the fold of all records; now and then the fold of checkpoint and tail, and
the references of each content segment, are compared as well.
"""

import random
from collections.abc import Callable

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from runtime import commit as commits
from runtime.checkpoint import gather
from runtime.content_references import count_segments
from runtime.engine import TerminatedError
from runtime.flowfile import FlowFile
from tests.engine_model import (
    CONNECTIONS,
    EXPIRES,
    EXPIRY_SECONDS,
    PROCESSORS,
    TARGETS,
    A,
    B,
    C,
    Known,
    Open,
    Ticket,
)
from tests.engine_world import World


class EngineMachine(RuleBasedStateMachine):
    effects_wait = False

    @initialize(seed=st.integers(0, 2**32))
    def begin(self, seed: int) -> None:
        self.choose = random.Random(seed)
        self.world = World(PROCESSORS, CONNECTIONS, effects_wait=self.effects_wait)
        self.known: dict[int, Known] = {}
        self.states: dict[int, dict[str, str]] = {}
        self.order: dict[int, list[int]] = {one.id: [] for one in CONNECTIONS}
        self.history: dict[int, tuple[dict[int, Known], dict[int, dict[str, str]]]] = {0: ({}, {})}
        self.sessions: list[Open] = []
        self.held: dict[int, dict[int, FlowFile]] = {A: {}, B: {}, C: {}}
        self.called: list[Ticket] = []
        for component, size in ((A, 3), (B, 2), (C, 1)):
            self.sessions.append(Open(self.world.open(component)))
            for _ in range(size + 2):
                self.create(self.sessions[0], size, True)
            self.commit(self.sessions[0], "success")

    # Sessions

    @rule(seeds=st.lists(st.integers(0, 2**32), min_size=1, max_size=6))
    def work(self, seeds: list[int]) -> None:
        for seed in seeds:
            self.trigger(random.Random(seed))

    def trigger(self, choose: random.Random) -> None:
        """Go on with a session of some component, or open one; end it more often than not."""
        self.choose = choose
        component = choose.choice([A, B, C])
        mine = [one for one in self.sessions if one.session.component.id == component]
        if len(mine) == 2 or (mine and choose.random() < 0.5):
            one = choose.choice(mine)
        else:
            one = Open(self.world.open(component))
            self.sessions.append(one)
            self.take(one, choose.choice([1, 3, 100]))
        for _ in range(choose.randint(1, 9)):
            self.act(one)
        match choose.choices(["commit", "roll back", "terminate", "go on"], [10, 4, 1, 5])[0]:
            case "commit":
                self.commit(one, choose.choice(["success", "success", "failure", "other"]))
            case "roll back":
                self.roll_back(one, choose.random() < 0.5)
            case "terminate":
                self.terminate(one)
        # Not only after each rule: a wrong state may be mended by the next commit.
        self.live_is_the_model()
        self.live_is_the_fold()

    def act(self, one: Open) -> None:
        choose = self.choose
        small = {name: choose.choice(["x", "y", None]) for name in choose.sample("abc", 2)}
        acts: list[Callable[[], None]] = [
            lambda: self.take(one, choose.choice([1, 3])),
            lambda: self.create(one, choose.choice([0, 1, 200, 5000]), choose.random() < 0.5),
            lambda: self.descend(one, choose.choice(["fork", "clone", "slice"])),
            lambda: self.descend(one, "clone"),
            lambda: self.join(one, choose.random() < 0.5),
            lambda: self.put(one, small, False),
            lambda: self.put(one, {"a": choose.choice("pq")}, True),
            lambda: self.write(
                one, choose.choice([0, 7, 3000]), choose.choice(["write", "append", "stream"])
            ),
            lambda: self.transfer(
                one,
                choose.choice(["success", "success", "failure", "other"]),
                choose.random() < 0.2,
                choose.choice([None, None, "why"]),
                choose.random() < 0.3,
            ),
            lambda: self.drop(one),
            lambda: self.put_back(one, choose.choice([0.0, 3.0])),
            lambda: self.hold(one),
            lambda: self.hold(one),
            lambda: self.resume(one),
            lambda: self.resume(one),
            lambda: self.set_state(one, choose.choice("pq")),
        ]
        choose.choice(acts)()

    def take(self, one: Open, count: int) -> None:
        flowfiles = one.session.take(count)
        now = self.world.clock.wall() * 1000
        expired = {flowfile.id for flowfile in one.session.expired}
        for id in expired:
            known = self.known[id]
            assert known.connection == EXPIRES
        for flowfile in flowfiles:
            known = self.known[flowfile.id]
            assert known.connection != EXPIRES or now - flowfile.entered <= EXPIRY_SECONDS * 1000
            assert flowfile.attributes == known.attributes
            assert one.session.read(flowfile) == known.content
            one.taken[flowfile.id] = known
            one.work[flowfile.id] = (flowfile, known.attributes, known.content)
        for id in expired - one.taken.keys():
            one.taken[id] = self.known[id]
            one.dropped.add(id)
        self.check_order_of(one, [flowfile.id for flowfile in flowfiles])

    def check_order_of(self, one: Open, ids: list[int]) -> None:
        """What never waited comes in the order of its arrival."""
        for connection, arrived in self.order.items():
            if self.world.queue(connection).model.prioritizers:
                continue
            places = [
                arrived.index(id)
                for id in ids
                if self.known[id].connection == connection and not self.known[id].waited
            ]
            assert places == sorted(places)
            # Nothing that lies there and could be taken was passed by.
            if places and not one.session.expired:
                lying = set(self.world.ids(connection))
                passed = [
                    id for id in arrived[: places[-1]] if id in lying and not self.known[id].waited
                ]
                assert passed == []

    def create(self, one: Open, size: int, received: bool) -> None:
        content = self.choose.randbytes(size)
        uri = "test://somewhere" if received else None
        flowfile = one.session.create({"n": str(size)}, content, received_from=uri)
        one.new.add(flowfile.id)
        one.work[flowfile.id] = (flowfile, {"n": str(size)}, content)

    def some_work(self, one: Open) -> int | None:
        return self.choose.choice(sorted(one.work)) if one.work else None

    def descend(self, one: Open, kind: str) -> None:
        id = self.some_work(one)
        if id is None:
            return
        flowfile, attributes, content = one.work[id]
        if kind == "fork":
            attributes, content = {**attributes, "child": "1"}, b"child of " + content[:5]
            child = one.session.create({"child": "1"}, content, parents=flowfile)
        elif kind == "clone":
            child = one.session.clone(flowfile)
        else:
            offset = len(content) // 3
            child = one.session.clone(flowfile, offset, len(content) // 2)
            content = content[offset : offset + len(content) // 2]
        one.new.add(child.id)
        one.parents[child.id] = id
        one.work[child.id] = (child, attributes, content)

    def join(self, one: Open, drop_parents: bool) -> None:
        ids = sorted(one.work)[:3]
        if len(ids) < 2 or one.session.component.id == B:
            return
        parents = [one.work[id][0] for id in ids]
        content = b"|".join(one.work[id][2] for id in ids)
        joined = one.session.create({"joined": "yes"}, content, parents=parents)
        shared = {
            name: value
            for name, value in one.work[ids[0]][1].items()
            if all(one.work[id][1].get(name) == value for id in ids)
        }
        one.new.add(joined.id)
        one.work[joined.id] = (joined, {**shared, "joined": "yes"}, content)
        if drop_parents:
            one.session.drop(parents)
            for id in ids:
                del one.work[id]
                one.dropped.add(id)

    def put(self, one: Open, changes: dict[str, str | None], many: bool) -> None:
        id = self.some_work(one)
        if id is None:
            return
        if many and None not in changes.values():
            ids = sorted(one.work)
            set_to = {name: value for name, value in changes.items() if value is not None}
            versions = one.session.put_all([one.work[id][0] for id in ids], set_to)
        else:
            ids = [id]
            versions = [one.session.put(one.work[id][0], changes)]
        for id, version in zip(ids, versions, strict=True):
            both = {**one.work[id][1], **changes}
            attributes = {name: value for name, value in both.items() if value is not None}
            one.work[id] = (version, attributes, one.work[id][2])
            one.touched.add(id)

    def write(self, one: Open, size: int, how: str) -> None:
        id = self.some_work(one)
        if id is None:
            return
        flowfile, attributes, content = one.work[id]
        data = self.choose.randbytes(size)
        if how == "write":
            version, content = one.session.write(flowfile, data), data
        elif how == "append":
            version, content = one.session.append(flowfile, data), content + data
        else:
            with one.session.open_write(flowfile) as target:
                target.write(data)
                target.write(data)
            version, content = target.flowfile, data * 2
        one.work[id] = (version, attributes, content)
        one.touched.add(id)
        assert one.session.read(version) == content

    # Accounting

    def transfer(
        self, one: Open, relationship: str, penalize: bool, reason: str | None, many: bool
    ) -> None:
        ids = sorted(one.work)[:5] if many else [id for id in [self.some_work(one)] if id]
        self.send(one, ids, relationship, penalize, reason)

    def send(
        self, one: Open, ids: list[int], relationship: str, penalize: bool, reason: str | None
    ) -> None:
        flowfiles = [one.work[id][0] for id in ids]
        for flowfile in flowfiles if penalize else ():
            one.session.penalize(flowfile)
        one.session.transfer(flowfiles, relationship, reason=reason)
        if relationship not in one.routes:
            one.routes.append(relationship)
        for id in ids:
            _, attributes, content = one.work.pop(id)
            one.routed[id] = (relationship, attributes, content, penalize, reason)

    def drop(self, one: Open) -> None:
        id = self.some_work(one)
        if id is not None:
            one.session.drop(one.work.pop(id)[0], "no use")
            one.dropped.add(id)

    def put_back(self, one: Open, wait: float) -> None:
        taken = sorted(one.work.keys() - one.new - set(one.parents.values()))
        for id in taken[:2]:
            one.session.put_back(one.work.pop(id)[0], wait_seconds=wait)
            one.back.add(id)
            if wait:
                one.waiting_back.add(id)

    def hold(self, one: Open) -> None:
        unused = one.work.keys() - one.new - one.touched - set(one.parents.values())
        for id in sorted(unused)[:2]:
            one.session.hold(one.work.pop(id)[0])
            one.held.add(id)

    def resume(self, one: Open) -> None:
        held = self.held[one.session.component.id]
        flowfiles = list(held.values())[:2]
        one.session.resume(flowfiles)
        for flowfile in flowfiles:
            del held[flowfile.id]
            known = self.known[flowfile.id]
            one.taken[flowfile.id] = known
            one.work[flowfile.id] = (flowfile, known.attributes, known.content)

    def set_state(self, one: Open, value: str) -> None:
        one.session.set_state({"at": value})
        one.session.count("turns")
        one.state = {"at": value}

    # Ending

    def commit(self, one: Open, relationship: str) -> None:
        self.send(one, sorted(one.work), relationship, False, None)
        ticket = Ticket(self.called)
        one.session.when_durable(ticket.call)
        self.sessions.remove(one)
        one.session.commit()
        ticket.sequence = self.world.engine.sequence
        self.world.engine.close_session(one.session)
        self.apply(one)

    def retried(self, one: Open) -> set[int]:
        """Return what is tried again, with all that this session made of it."""
        if one.session.component.id != B:
            return set()
        again = {
            id
            for id, (relationship, *_) in one.routed.items()
            if relationship == "failure" and id in one.taken and one.taken[id].retries < 2
        }
        gone = set(again)
        while True:
            more = {child for child, parent in one.parents.items() if parent in gone}
            if more <= gone:
                break
            gone |= more
        for id in again:
            self.known[id].retries += 1
            self.known[id].waited = True
        return gone

    def apply(self, one: Open) -> None:
        """Change the model as the commit changed the engine."""
        component = one.session.component.id
        gone = self.retried(one)
        held = self.world.engine.components[component].held
        for id in one.held:
            self.held[component][id] = held[id][1].flowfiles[0]
        for id in one.waiting_back:
            self.known[id].waited = True
        for id in one.dropped - gone:
            self.forget(id)
        clones = self.clones()
        # In the order of the routes, as queues receive them.
        for relationship, flowfiles in self.by_route(one, gone):
            targets = TARGETS.get((component, relationship), [])
            for id in flowfiles:
                self.forget(id)
            for target in targets:
                self.arrive(one, target, flowfiles, clones)
        if one.state is not None:
            self.states[component] = one.state
        self.remember()

    def by_route(self, one: Open, gone: set[int]) -> list[tuple[str, list[int]]]:
        """Within a relationship those that share penalty and reason come together."""
        parts: dict[tuple[str, bool, str | None], list[int]] = {}
        for name in one.routes:
            for id, (relationship, _, _, penalized, reason) in one.routed.items():
                if relationship == name and id not in gone:
                    parts.setdefault((name, penalized, reason), []).append(id)
        return [(name, ids) for (name, _, _), ids in parts.items()]

    def arrive(
        self, one: Open, target: int, ids: list[int], clones: dict[tuple[int, int], int]
    ) -> None:
        for id in ids:
            _, attributes, content, penalized, _ = one.routed[id]
            own = clones.get((target, id), id)
            self.known[own] = Known(target, dict(attributes), content, waited=penalized)
            self.order[target].append(own)

    def clones(self) -> dict[tuple[int, int], int]:
        """Return by target and original which ids the copies got; only the engine knows."""
        return {
            (target.connection, original): clone
            for data in self.world.records[-1:]
            for routed in commits.decode(data).routed
            for target in routed.targets
            if target.clones is not None
            for original, clone in zip(
                commits.decode_ids(routed.ids), commits.decode_ids(target.clones), strict=True
            )
        }

    def forget(self, id: int) -> None:
        known = self.known.pop(id, None)
        if known is not None:
            self.order[known.connection].remove(id)

    def remember(self) -> None:
        copies = {id: Known(**vars(known)) for id, known in self.known.items()}
        self.history[self.world.engine.sequence] = (copies, dict(self.states))

    def roll_back(self, one: Open, penalize: bool) -> None:
        self.sessions.remove(one)
        one.session.rollback(penalize=penalize, reason=ValueError("for a test"))
        self.world.engine.close_session(one.session)
        if penalize:
            for id in one.taken:
                self.known[id].waited = True
            self.remember()

    def terminate(self, one: Open) -> None:
        """Whatever a terminated session does later is refused, and changes nothing."""
        self.sessions.remove(one)
        engine = self.world.engine
        with engine.lock:
            one.session.fenced = True
            engine.give_back(one.session)
        self.send(one, sorted(one.work), "success", False, None)
        for attempt in (one.session.commit, one.session.take, lambda: one.session.resume([])):
            try:
                attempt()
            except TerminatedError:
                continue
            raise AssertionError(f"{attempt} went through")
        one.session.rollback(penalize=True)
        engine.close_session(one.session)

    @rule(component=st.sampled_from([A, B, C]))
    def return_held(self, component: int) -> None:
        held = self.world.engine.components[component]
        assert self.world.engine.return_held(held) == bool(self.held[component])
        self.held[component].clear()

    # The world

    @rule(seconds=st.sampled_from([0.5, 3.0, 30.0]))
    def let_time_pass(self, seconds: float) -> None:
        self.world.advance(seconds)

    @rule()
    def sync(self) -> None:
        self.world.log.sync()
        called = [one.sequence for one in self.called]
        assert called == sorted(called)
        references = self.world.engine.content.references
        counts = count_segments(self.world.fold().live_claims())
        segments = {one.segment for one in self.world.engine.content.statistics()}
        for segment in segments | counts.keys():
            assert references.holders(segment)[0] == counts.get(segment, 0)

    @rule()
    def checkpoint(self) -> None:
        self.world.checkpoint()

    @rule(connection=st.sampled_from([10, 20]), prioritizers=st.sampled_from([(), ("newest",)]))
    def change_prioritizers(self, connection: int, prioritizers: tuple[str, ...]) -> None:
        import msgspec

        lost = self.world.wire(
            [
                msgspec.structs.replace(one, prioritizers=prioritizers)
                if one.id == connection
                else one
                for one in self.world.connections
            ]
        )
        assert lost == {}

    @rule(tears=st.booleans(), with_checkpoint=st.booleans())
    def lose_power(self, tears: bool, with_checkpoint: bool) -> None:
        acknowledged = max((one.sequence for one in self.called), default=0)
        durable = self.world.log.durable
        if tears:
            self.world.disk.tear(self.choose)
        else:
            self.world.disk.lose_power()
        sequence = self.world.recover(checkpoint=with_checkpoint)
        assert sequence >= durable >= acknowledged
        self.sessions.clear()
        for held in self.held.values():
            held.clear()
        recovered = max(one for one in self.history if one <= sequence)
        known, states = self.history[recovered]
        self.known = {id: Known(**vars(one)) for id, one in known.items()}
        self.states = dict(states)
        self.history = {one: state for one, state in self.history.items() if one <= sequence}
        folded = self.world.fold().queues
        self.order = {connection: list(folded.get(connection, ())) for connection in self.order}
        self.called.clear()
        live = self.world.live()
        for flowfiles in live.values():
            for id, flowfile in flowfiles.items():
                content = self.world.engine.content.read(flowfile.claim)
                assert content == self.known[id].content

    # What always holds

    @invariant()
    def live_is_the_model(self) -> None:
        live = self.world.live()
        places = {id: queue for queue, members in live.items() for id in members}
        assert places == {id: one.connection for id, one in self.known.items()}
        for members in live.values():
            for id, flowfile in members.items():
                assert flowfile.attributes == self.known[id].attributes
                assert flowfile.size == len(self.known[id].content)
        for queue in self.world.engine.queues.values():
            members = live.get(queue.id, {})
            assert queue.count == len(members)
            assert queue.size == sum(one.size for one in members.values())

    @invariant()
    def live_is_the_fold(self) -> None:
        fold = self.world.fold()
        live = self.world.live()
        folded = {
            id: {entry.flowfile.id: entry.flowfile for entry in queue.values()}
            for id, queue in fold.queues.items()
            if queue
        }
        assert folded == live
        with self.world.engine.lock:
            runs = [run for queue in gather(self.world.engine).values() for run in queue]
        retries = {one.id: run.retries for run in runs for one in run.flowfiles if run.retries}
        assert retries == {
            id: entry.retries
            for queue in fold.queues.values()
            for id, entry in queue.items()
            if entry.retries
        }
        states = {id: one.state for id, one in self.world.engine.components.items() if one.state}
        assert {id: state for id, state in fold.states.items() if state} == states == self.states
        assert fold.counters == self.world.engine.counters

    @invariant()
    def nobody_who_is_ready_sleeps(self) -> None:
        with self.world.engine.lock:
            for component in self.world.engine.components.values():
                if not component.is_queued:
                    assert not self.world.scheduler.is_ready(component), component.name


class WaitingEngineMachine(EngineMachine):
    """The same where a commit becomes visible only with its sync."""

    effects_wait = True


EngineMachine.TestCase.settings = settings(max_examples=50, stateful_step_count=40, deadline=None)
WaitingEngineMachine.TestCase.settings = settings(
    max_examples=20, stateful_step_count=30, deadline=None
)
TestEngine = EngineMachine.TestCase
TestWaitingEngine = WaitingEngineMachine.TestCase
