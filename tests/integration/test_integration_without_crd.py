"""Last of all, for nothing works without the CRD: a watch that ends for good ends the process."""

from integration.api import Api, wait_for
from integration.pools import Pool
from integration.stage import CRD, Operator


def test_the_process_ends_when_what_it_watches_is_gone(api: Api, operator: Operator, unplaced: Pool) -> None:
    api.delete(CRD)
    wait_for("the end of the definition", lambda: api.get(CRD) is None, 120)
    assert operator.wait_for_end() == 1
    said = operator.log.read_text(encoding="utf-8").splitlines()[-1]
    assert "a watch has ended" in said
    assert "the process ends, and shall be started again" in said
