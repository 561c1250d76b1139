"""The table of one kind: what the watch brings and what our own writes came back as."""

from fluxpool_operator.cluster import kinds
from fluxpool_operator.controller.keys import PoolKey, pool_of, row_key
from fluxpool_operator.controller.table import ENDS_REMEMBERED, FOUND_SECONDS, Row, Table

KEY = PoolKey("default", "demo")


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def row(value: str, version: int, uid: str = "a", key: PoolKey = KEY) -> Row[str]:
    return Row(key, uid, version, value)


def value(table: Table[str]) -> str | None:
    found = table.get(KEY)
    return found.value if found else None


def test_a_newer_version_replaces_an_older_one_and_never_the_other_way_round() -> None:
    table: Table[str] = Table()
    table.put(row("listed", 10))
    table.put(row("our write", 12))
    table.put(row("a late event", 11))
    assert value(table) == "our write"
    table.put(row("a new event", 13))
    assert value(table) == "a new event"


def test_versions_are_compared_as_numbers() -> None:
    table: Table[str] = Table()
    table.put(row("nine", 9))
    table.put(row("ten", 10))
    assert value(table) == "ten"


def test_what_is_gone_does_not_come_back_by_a_late_answer() -> None:
    table: Table[str] = Table()
    table.put(row("there", 10))
    table.remove(KEY, "a", version=12)
    table.put(row("the answer to a write before the deletion", 11))
    assert value(table) is None
    assert list(table) == []
    assert KEY not in table


def test_what_has_only_left_the_watchs_selector_comes_back_at_a_later_version() -> None:
    table: Table[str] = Table()
    table.put(row("with its label", 10))
    table.remove(KEY, "a", version=12)
    table.put(row("an answer from before that", 11))
    assert value(table) is None
    table.put(row("with its label again", 13))
    assert value(table) == "with its label again"
    table.put(row("and later", 14))
    assert value(table) == "and later"


def test_a_late_event_of_having_left_the_selector_takes_away_nothing_newer() -> None:
    table: Table[str] = Table()
    table.put(row("our write, with the label", 13))
    table.remove(KEY, "a", version=12)
    assert value(table) == "our write, with the label"


def test_what_we_have_deleted_never_comes_back() -> None:
    table: Table[str] = Table()
    table.put(row("there", 10))
    table.remove(KEY, "a")
    table.remove(KEY, "a", version=12)  # the watch says so too
    table.put(row("on its way out", 13))
    assert value(table) is None


def test_a_successor_of_the_same_name_counts_while_the_dead_one_is_still_there() -> None:
    table: Table[str] = Table()
    table.put(row("dying", 10, uid="a"))
    table.put(row("successor", 20, uid="b"))
    assert value(table) == "successor"
    table.remove(KEY, "a")
    assert value(table) == "successor"


def test_several_rows_share_a_key() -> None:
    table: Table[str] = Table()
    table.put(row("one", 1, uid="a"))
    table.put(row("two", 2, uid="b"))
    assert [each.value for each in table.all(KEY)] == ["one", "two"]
    assert table.versions() == {"a": 1, "b": 2}
    assert [each.uid for each in table.rows_of(["b", "unknown"])] == ["b"]
    assert len(table) == 1


def test_an_object_that_no_watch_sees_is_known_for_a_while_only() -> None:
    clock = Clock()
    table: Table[str] = Table(clock)
    table.put_found(row("somebody else's", 10))
    assert value(table) == "somebody else's"
    table.put(row("ours", 11, uid="b"))
    assert value(table) == "ours", "what the watch sees counts more"
    table.remove(KEY, "b")
    clock.now = FOUND_SECONDS
    assert value(table) is None


def test_the_dead_are_not_remembered_for_ever() -> None:
    table: Table[str] = Table()
    for number in range(ENDS_REMEMBERED + 1):
        table.remove(KEY, str(number))
    table.put(row("a UID is never used twice, so this is only to look inside", 1, uid="0"))
    assert len(table) == 1


def test_every_object_leads_to_its_pool() -> None:
    label = {"fluxpool.dev/pool": "demo"}
    metadata = {"namespace": "default", "name": "demo-7bff496c59-6skb8", "labels": label}
    assert row_key(kinds.POD, metadata) == KEY
    for kind in (kinds.FLUXPOOL, kinds.DEPLOYMENT, kinds.SERVICE, kinds.POD_DISRUPTION_BUDGET, kinds.SERVICE_MONITOR):
        key = row_key(kind, {"namespace": "default", "name": "demo"})
        assert pool_of(kind, key) == KEY
    secret = row_key(kinds.SECRET, {"namespace": "default", "name": "demo-admin"})
    assert pool_of(kinds.SECRET, secret) == KEY
    assert str(KEY) == "default/demo"
