"""The ablation table from stored runs, and the texts that are made of it."""

import csv
import json
import re
import shutil
import subprocess
from html.parser import HTMLParser
from io import StringIO

import numpy as np
import pytest
from entry import call
from scipy import stats
from stored_runs import CLAIM, SETTINGS, write_run

from deeper.reporting import formats, keep, page
from deeper.reporting.ablations import ablation_table
from deeper.reporting.runs import read_all


@pytest.fixture
def store(tmp_path):
    """Three seeds of a baseline, of an experiment 20 points below and of one that changes nothing."""
    for seed in range(3):
        write_run(tmp_path, "baseline", seed)
        write_run(tmp_path, "no_aux", seed, 0.6)
        write_run(tmp_path, "head_nin", seed)
    return tmp_path


def table(store, **options):
    found = ablation_table(read_all([store]), **options)
    return found, {row.arm: row for row in found.rows}


def test_means_and_differences_are_those_of_the_runs(store):
    _, rows = table(store)
    of = {arm: np.array([run.result("test/top1") for run in row.runs]) for arm, row in rows.items()}
    for arm, values in of.items():
        assert rows[arm].mean == pytest.approx(values.mean())
        assert rows[arm].deviation == pytest.approx(values.std(ddof=1))
    difference = rows["no_aux"].difference
    assert difference.mean == pytest.approx((of["no_aux"] - of["baseline"]).mean())
    assert difference.pairs == 3
    low, high = difference.interval
    assert low < difference.mean < high < 0
    assert rows["baseline"].difference is None


def test_other_metrics_are_compared_by_seed_alone(store):
    _, rows = table(store, metric="test/loss")
    assert rows["no_aux"].difference.mean == 0
    assert rows["no_aux"].claim is rows["no_aux"].verdict is None  # it is about test/top1
    _, rows = table(store, metric="val/top1")
    assert rows["no_aux"].difference.mean == pytest.approx(-0.2)


def test_equal_outcomes_differ_by_nothing(store):
    """As where all answers are among five, and where there are fewer classes than that."""
    _, rows = table(store, metric="test/top5")
    assert rows["no_aux"].difference.interval == (0, 0)
    write_run(store, "no_pool", 0, classes=3)
    _, rows = table(store, metric="test/top5")
    assert not rows["no_pool"].dead


def test_a_run_without_outcomes_is_compared_by_seed(store):
    (store / "no_aux-1/test_outcomes.npz").unlink()
    _, rows = table(store)
    values = [[run.result("test/top1") for run in rows[arm].runs] for arm in ("no_aux", "baseline")]
    assert rows["no_aux"].difference.interval == pytest.approx(
        stats.ttest_rel(*values).confidence_interval(0.95)
    )


def test_verdicts_are_given_to_claims_alone(store):
    write_run(store, "head_fc+no_dropout", 0, 0.6)
    write_run(store, "head_fc+no_dropout", 1, 0.6)
    _, rows = table(store)
    assert rows["no_aux"].verdict == "holds"
    assert rows["head_nin"].verdict == "not resolved"
    assert rows["baseline"].verdict is rows["head_fc+no_dropout"].verdict is None
    assert rows["head_fc+no_dropout"].difference.pairs == 2


def test_what_is_missing_failed_or_diverged_is_shown(store):
    shutil.rmtree(store / "no_aux-0")
    write_run(store, "head_nin", 3, status="failed", results={})
    write_run(store, "head_nin", 4, status="diverged")
    found, rows = table(store)
    assert rows["no_aux"].absent == {"missing": [0, 3, 4]}
    assert rows["head_nin"].absent == {"failed": [3], "diverged": [4]}
    assert rows["baseline"].absent == {"missing": [3, 4]}
    assert rows["no_aux"].difference.pairs == 2
    assert "failed: seed 3; diverged: seed 4" in formats.markdown(found)


def test_a_sweep_says_which_of_its_jobs_have_no_run(store):
    sweep = store / "train/multiruns/sweep-1"
    sweep.mkdir(parents=True)
    shutil.copytree(store / "baseline-0", store / "train/store/baseline-0")
    jobs = [{"job": 0, "run": "baseline-0", "overrides": ["seed=0", "experiment=baseline"]},
            {"job": 1, "run": "other", "overrides": ["seed=0", "experiment=[head_fc,no_dropout]"]}]  # fmt: skip
    (sweep / "sweep.json").write_text(json.dumps({"jobs": jobs}))
    _, rows = table(sweep)
    assert rows["head_fc+no_dropout"].absent == {"missing": [0]}


def test_a_dead_arm_gets_no_verdict(store):
    for seed in range(3):
        write_run(store, "no_lrn", seed, 0.1)
    found, rows = table(store)
    assert rows["no_lrn"].dead
    assert rows["no_lrn"].verdict is None
    assert "dead: no better than chance" in formats.markdown(found)


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        (
            {"cell": "c2", "config": SETTINGS | {"claim": CLAIM, "optimizer": {"lr": 0.2}}},
            r"no_pool-0 differ in more than their experiments and seeds: optimizer.lr \(0.1, 0.2\)",
        ),
        ({"data": "d2"}, r"the images \(fingerprint d1, d2\); report them apart"),
        ({"source": "s2"}, r"the code in src/ \(fingerprint s1, s2\)"),
    ],
)
def test_runs_that_differ_otherwise_are_refused_by_name(store, changes, named):
    write_run(store, "no_pool", 0, **changes)
    with pytest.raises(ValueError, match=named):
        table(store)


def test_a_part_of_the_users_own_may_have_its_code(store):
    for seed in range(2):
        write_run(store, "own", seed, code="own", source="s1")
    assert "own" in table(store)[1]
    write_run(store, "own", 2, code="changed", source="s1")
    with pytest.raises(ValueError, match=r"own-2 .*: the code \(fingerprint own, changed\)"):
        table(store)


def test_two_runs_of_one_arm_and_seed_are_refused(store, tmp_path):
    write_run(tmp_path / "again", "no_aux", 1)
    with pytest.raises(ValueError, match="both are no_aux with seed 1; give one of them"):
        ablation_table(read_all([store, tmp_path / "again"]))


def test_without_a_baseline_there_is_nothing_to_compare_with(tmp_path):
    write_run(tmp_path, "no_aux", 0)
    with pytest.raises(ValueError, match="no run of experiment=baseline among no_aux"):
        table(tmp_path)


def test_csv_and_json_hold_the_numbers(store):
    found, rows = table(store)
    (line,) = [r for r in csv.DictReader(StringIO(formats.comma_separated(found)))
               if r["experiment"] == "no_aux"]  # fmt: skip
    assert float(line["difference"]) == rows["no_aux"].difference.mean
    assert line["seeds"] == "0 1 2"
    arms = formats.numbers(found)["arms"]
    assert [arm["experiment"] for arm in arms] == ["baseline", "head_nin", "no_aux"]


@pytest.mark.skipif(not shutil.which("pdflatex"), reason="no pdflatex here")
def test_the_latex_table_compiles(store, tmp_path):
    columns, rows = formats.cells(table(store)[0])
    rows[0][0] = r"100 % of_a & b ± {x} ~ ^ \ # $ × … ≥"
    text = formats.latex(columns, rows)
    document = r"\documentclass{article}\usepackage{booktabs}\begin{document}" + text
    (tmp_path / "t.tex").write_text(document + r"\end{document}")
    done = subprocess.run(
        ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "t.tex"],
        cwd=tmp_path,
        capture_output=True,
    )
    assert done.returncode == 0, done.stdout


class Links(HTMLParser):
    """Attributes through which a page could load something, and tags that are open at the end."""

    def __init__(self):
        super().__init__()
        self.sources, self.open = [], []

    def handle_starttag(self, tag, attributes):
        self.sources += [value for name, value in attributes if name in ("src", "href", "srcset")]
        if tag not in ("meta", "img"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def test_the_page_stands_alone(store):
    text = page.html(table(store)[0], ["python", "src/report.py", "it's"], mistakes=3)
    parser = Links()
    parser.feed(text)
    assert parser.open == []
    assert parser.sources == []
    assert not re.search(r"url\((?!#)|@import|<script", text)  # url(#…) is within the page
    for part in (
        "no_aux",
        "holds",
        "Confusion",
        "n00000003",
        "Worst mistakes",
        "loss 3.0",
        "a processor",
    ):
        assert part in text
    assert text.count("<svg") == 3


def test_the_command_prints_a_table_and_writes_five_files(store, tmp_path):
    out = tmp_path / "out"
    done = call(str(store), f"out={out}", script="report")
    assert done.returncode == 0, done.stderr
    assert "no_aux" in done.stdout
    names = ["index.html", "table.csv", "table.json", "table.md", "table.tex"]
    assert sorted(path.name for path in out.iterdir()) == names


def test_kept_runs_give_the_same_table_and_name_no_path(store, tmp_path):
    kept = tmp_path / "kept"
    write_run(store, "no_aux", 3, status="running")
    assert (
        call(str(store), f"keep={kept}", f"out={tmp_path / 'a'}", script="report").returncode == 0
    )
    assert call(str(kept), f"out={tmp_path / 'b'}", script="report").returncode == 0
    shutil.rmtree(store / "no_aux-3")
    assert len([*kept.glob("runs/*")]) == 9
    a, b = (json.loads((tmp_path / f"{x}/table.json").read_text())["arms"] for x in "ab")
    assert [arm["difference"] for arm in a] == [arm["difference"] for arm in b]
    assert "/home/me" not in "".join(path.read_text() for path in kept.rglob("*.json"))


def test_what_is_kept_adds_to_what_was(store, tmp_path):
    kept = tmp_path / "kept"
    sweeps = []
    for seed in range(2):
        sweep = tmp_path / f"logs/train/multiruns/sweep-{seed}"
        sweep.mkdir(parents=True)
        for arm in ("baseline", "no_aux"):
            shutil.copytree(store / f"{arm}-{seed}", tmp_path / f"logs/train/store/{arm}-{seed}")
        jobs = [{"job": i, "run": f"{arm}-{seed}", "overrides": [f"experiment={arm}", f"seed={seed}"]}
                for i, arm in enumerate(("baseline", "no_aux"))]  # fmt: skip
        (sweep / "sweep.json").write_text(json.dumps({"jobs": jobs}))
        sweeps.append(str(sweep))
    for words in ([sweeps[0]], [sweeps[1], str(store / "no_aux-2")], [str(kept)]):
        done = call(*words, f"keep={kept}", f"out={tmp_path / 'a'}", script="report")
        assert done.returncode == 0, done.stderr
    _, rows = table(kept)
    assert [run.seed for run in rows["no_aux"].runs] == [0, 1, 2]
    (tmp_path / "link").symlink_to(sweeps[0])
    assert {run.state for run in read_all([tmp_path / "link"])} == {"finished"}


def test_kept_settings_lack_paths_alone():
    data = {"root": "imagenet", "scale": "imagenet", "cache": "/c"}
    record = {"command": ["train.py", "--config-dir=/mine", 'hydra.sweep.dir="/logs"', "lr=0.1"],
              "config": {"data": data, "model": {"pretrained": "/w.pth", "width": 0.5}}}  # fmt: skip
    assert keep._without_paths(record) == {
        "command": ["train.py", "lr=0.1"],
        "config": {"data": {"root": "imagenet", "scale": "imagenet"}, "model": {"width": 0.5}},
    }


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["plan", "{store}/baseline-0", "{store}/again"], "both are baseline with seed 0"),
        ([], "say which runs"),
        (["nowhere"], "nowhere: neither a run directory nor a multirun"),
        (["plan", "{store}/no_aux-0"], "0 finished runs of experiment=baseline with test/top1"),
        (
            ["{store}/no_aux-0", "{store}/baseline-0", "metric=f1"],
            "no run has finished with f1; measured",
        ),
    ],
)
def test_refusals(store, words, message):
    shutil.copytree(store / "baseline-0", store / "again")
    done = call(*(word.format(store=store) for word in words), script="report")
    assert done.returncode == 2
    assert message in done.stderr


def test_a_plan_says_how_many_seeds_each_claim_needs(store):
    done = call("plan", str(store), script="report")
    assert done.returncode == 0, done.stderr
    assert "3 pilots: test/top1" in done.stdout
    assert re.search(r"no_aux .* 0.50% +│ +\d+ │", done.stdout)
    assert re.search(r"aux_4a .* within 0.50% │ +\d+ │", done.stdout)
