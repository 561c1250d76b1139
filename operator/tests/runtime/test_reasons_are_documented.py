"""docs/troubleshooting.md tells of every reason that a condition or an event of a FluxPool can have, and no other."""

import ast
import inspect
import re
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

from fluxpool_operator import contract
from fluxpool_operator.api import Mode
from fluxpool_operator.controller import executor
from fluxpool_operator.reconcile import conditions, problems, reconciler
from fluxpool_operator.scaling import condition_facts, events
from fluxpool_operator.scaling.errors import PrometheusError

PAGE = (Path(__file__).parents[3] / "docs" / "troubleshooting.md").read_text()
CONDITIONS = {
    conditions.READY,
    conditions.RECONCILING,
    conditions.STALLED,
    conditions.SCALING_ACTIVE,
    conditions.METRICS_AVAILABLE,
}
OF_THE_KUBELET = problems._IMAGE_PROBLEMS | problems._CONTAINER_PROBLEMS | {"CrashLoopBackOff"}
"""What problems are recognised by."""
OF_EVENTS = {"Normal", "Warning", "Reconcile"}
"""Types and the action of events."""
NO_REASONS = CONDITIONS | OF_THE_KUBELET | OF_EVENTS | {"True", "False", "Unknown"}


def words_in(*modules: ModuleType) -> set[str]:
    """Every CamelCase word that stands alone in a string of these modules: what reasons look like."""
    trees = [ast.parse(inspect.getsource(module)) for module in modules]
    strings = {node.value for tree in trees for node in ast.walk(tree) if _is_value(node)}
    return {word for word in strings if re.fullmatch(r"[A-Z][a-z]+[A-Za-z]*", word)}


def _is_value(node: ast.AST) -> bool:
    return isinstance(node, ast.Constant) and isinstance(node.value, str)


def first_cells(section: str) -> Iterator[str]:
    """The words in backquotes of the first column of a section's table."""
    _, found, rest = PAGE.partition(f"\n## {section}\n")
    assert found, section
    for line in rest.partition("\n## ")[0].splitlines():
        if line.startswith("| `"):
            yield from re.findall(r"`(\w+)`", line.split("|")[1])


def test_every_reason_of_a_condition_is_on_the_page_and_no_other() -> None:
    reasons = words_in(conditions, problems, condition_facts) - NO_REASONS
    reasons |= {str(reason) for reason in condition_facts.SCALING_REASONS}
    reasons |= {kind.reason for kind in PrometheusError.__subclasses__()}
    reasons |= {*contract.START_ERRORS, *(mode.value for mode in Mode if mode is not Mode.AUTO)}
    sections = (
        "A pool that cannot go on",
        "Ready and Reconciling without a problem",
        "ScalingActive",
        "MetricsAvailable",
    )
    told = [reason for section in sections for reason in first_cells(section)]
    assert len(told) == len(set(told))
    # Reconciling says in one word that Stalled says more: the only condition whose name is a reason too.
    assert set(told) == reasons | {"Stalled"}


def test_every_event_is_on_the_page_and_no_other() -> None:
    own = words_in(events) | words_in(reconciler, executor) - NO_REASONS - {"InvalidSpec"}
    good_again = {name for _, _, name in reconciler._TURNS}
    assert set(first_cells("Events")) == (own | good_again) - OF_EVENTS


@pytest.mark.parametrize("condition", sorted(CONDITIONS))
def test_every_condition_is_explained(condition: str) -> None:
    assert f"\n| `{condition}` | " in PAGE


def test_every_reason_to_stall_has_a_remedy() -> None:
    rest = PAGE.partition("\n## A pool that cannot go on\n")[2].partition("\n## ")[0]
    rows = [line.strip("|").split(" | ") for line in rest.splitlines() if line.startswith("| `")]
    assert len(rows) >= 12
    assert all(len(row) == 3 and row[2].strip() for row in rows)
