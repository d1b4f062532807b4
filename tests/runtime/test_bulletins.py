"""Bulletins: what is kept, what is counted, and who hears of it."""

import threading

from runtime.bulletins import KEPT_OF_NODE, KEPT_PER_COMPONENT, Bulletin, Bulletins
from runtime.clock import ManualClock


def _messages(bulletins: Bulletins, seconds: float = 300.0, after: int = 0) -> list[str]:
    return [one.message for one in bulletins.recent(seconds, after)]


def test_each_component_keeps_its_newest_and_none_pushes_out_another() -> None:
    bulletins = Bulletins(ManualClock().wall)
    for number in range(KEPT_PER_COMPONENT + 2):
        bulletins.add("ERROR", 7, "tail", f"tail {number}")
    bulletins.add("WARN", 8, "put", "put 0")

    assert _messages(bulletins) == [
        *(f"tail {number}" for number in range(2, KEPT_PER_COMPONENT + 2)),
        "put 0",
    ]


def test_the_node_keeps_more_than_a_component() -> None:
    bulletins = Bulletins(ManualClock().wall)
    for number in range(KEPT_OF_NODE + 1):
        bulletins.add("ERROR", 0, "node", str(number))
    assert len(bulletins.recent()) == KEPT_OF_NODE


def test_what_is_below_the_level_of_its_component_is_left_out() -> None:
    bulletins = Bulletins(ManualClock().wall)
    for level in ("DEBUG", "INFO", "WARN", "ERROR"):
        bulletins.add(level, 1, "a", f"{level} of a", least="WARN")
        bulletins.add(level, 2, "b", f"{level} of b", least="NONE")
    assert _messages(bulletins) == ["WARN of a", "ERROR of a"]
    assert bulletins.errors == 1


def test_a_repeated_message_is_counted_for_a_minute() -> None:
    clock = ManualClock()
    bulletins = Bulletins(clock.wall)
    heard: list[Bulletin] = []
    bulletins.listeners.append(heard.append)
    for _ in range(3):
        bulletins.add("ERROR", 1, "put", "the disk is full")
        clock.advance(20)
    bulletins.add("ERROR", 1, "put", "the disk is full")

    assert [(one.message, one.repeats) for one in bulletins.recent()] == [
        ("the disk is full", 3),
        ("the disk is full", 1),
    ]
    assert len(heard) == 2
    assert bulletins.errors == 4


def test_a_reader_asks_for_what_came_after_the_last_one() -> None:
    clock = ManualClock()
    bulletins = Bulletins(clock.wall)
    bulletins.add("ERROR", 1, "a", "old")
    clock.advance(301)
    bulletins.add("ERROR", 2, "b", "first")
    bulletins.add("ERROR", 1, "a", "second")

    found = bulletins.recent()
    assert [one.message for one in found] == ["first", "second"]
    assert _messages(bulletins, after=found[0].id) == ["second"]
    assert _messages(bulletins, float("inf")) == ["old", "first", "second"]


def test_bulletins_of_many_threads_get_ids_of_their_own() -> None:
    bulletins = Bulletins(ManualClock().wall)

    def add(component: int) -> None:
        for number in range(KEPT_PER_COMPONENT):
            bulletins.add("ERROR", component, "a", str(number))

    threads = [threading.Thread(target=add, args=(n,)) for n in range(1, 9)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len({one.id for one in bulletins.recent()}) == 8 * KEPT_PER_COMPONENT
