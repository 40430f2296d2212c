"""The counted table against the paper's Table 1 and the published totals."""

import pytest
import torch

from deeper.models.googlenet import TABLE1
from deeper.models.inception import Widths
from deeper.models.summary import StageSummary, summary

PARAMETERS, MACS = 6_998_552, 1_582_671_872
AUX_PARAMETERS, AUX_MACS = 3_188_840 + 3_190_888, 4_169_728 + 4_202_496


@pytest.fixture
def paper(build):
    return build(1000, image_size=224, norm="lrn", aux="both", device="meta")


def totals(rows):
    return sum(row.parameters for row in rows), sum(row.macs for row in rows)


def test_totals(paper):
    assert totals(summary(paper.eval(), 224)) == (PARAMETERS, MACS)
    assert totals(summary(paper.train(), 224)) == (PARAMETERS + AUX_PARAMETERS, MACS + AUX_MACS)


def test_rows(paper):
    rows = {row.stage: row for row in summary(paper.train(), 224)}
    assert rows["conv1"] == ("conv1", "7×7/2", (64, 112, 112), {"conv": 64}, 9_472, 118_013_952)
    assert rows["pool1"] == ("pool1", "3×3/2", (64, 56, 56), {}, 0, 0)
    assert rows["norm1"] == ("norm1", "", (64, 56, 56), {}, 0, 0)
    widths = TABLE1["inception3a"]._asdict()
    assert rows["inception3a"] == StageSummary(
        "inception3a", "", (256, 28, 28), widths, 163_696, 128_049_152
    )
    assert {name: Widths(**rows[name].widths) for name in TABLE1} == TABLE1
    assert rows["aux.inception4a"][:4] == ("aux.inception4a", "", (1000,), {"conv": 128})
    assert rows["head"] == ("head", "", (1000,), {}, 1_025_000, 1_024_000)


def test_order_is_that_of_the_pass(paper):
    stages = [*paper.stages, "head"]
    assert [row.stage for row in summary(paper.eval(), 224)] == stages
    for tap in paper.aux:
        stages.insert(stages.index(tap) + 1, f"aux.{tap}")
    assert [row.stage for row in summary(paper.train(), 224)] == stages


def test_a_net_with_weights_stays_as_it_was(build):
    options = {"image_size": 32, "norm": "bn", "aux": "inception3a", "width": 0.125}
    net = build(**options)
    before = {name: value.clone() for name, value in net.state_dict().items()}
    assert summary(net, 32) == summary(build(**options, device="meta"), 32)
    torch.testing.assert_close(net.state_dict(), before, rtol=0, atol=0)
    assert not any(module._forward_hooks for module in net.modules())
