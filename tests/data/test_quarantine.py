"""What training does about images that prepare found to be bad, and about those it did not."""

import json
import re

import pytest
from entry import call, record, run_dirs
from photos import CLASSES, make, prepare, spoil

from deeper.data import manifest
from deeper.data.layouts import packed
from deeper.data.quarantine import without_bad
from deeper.data.sources.folder import Folder


def load(root, cache):
    return Folder(str(root), str(cache)).load()


@pytest.fixture
def spoiled(tmp_path):
    """(root, cache, names of what cannot be read), verified."""
    root, cache = make(tmp_path / "root", each=12), tmp_path / "cache"
    bad, _ = spoil(root, each=2)
    prepare(root, cache, quarantine=True)
    return root, cache, bad


def test_without_a_manifest_all_are_without_bad(tmp_path):
    root = make(tmp_path / "root")
    splits = load(root, tmp_path / "cache")
    found, counts = without_bad(splits, root, tmp_path / "cache", "strict")
    assert found is splits
    assert counts == (False, 24, 0)


def test_strict_names_the_first(spoiled, monkeypatch):
    root, cache, bad = spoiled
    monkeypatch.setattr(manifest, "LISTED", 10)
    with pytest.raises(ValueError) as error:  # noqa: PT011
        without_bad(load(root, cache), root, cache, "strict")
    head, *lines, more, advice = str(error.value).splitlines()
    assert head == f"data.root={root}: 14 of 98 images cannot be read:"
    assert [re.match(r"  (\S+): \S", line)[1] for line in lines] == bad[:10]
    (full,) = cache.glob("manifests/*/bad.txt")
    assert more == f"  and 4 more in {full}"
    assert f"run `python src/prepare.py data.root={root}` again, or pass data.bad=" in advice


def test_quarantine_leaves_out_exactly_these(spoiled):
    root, cache, bad = spoiled
    splits = load(root, cache)
    found, counts = without_bad(splits, root, cache, "quarantine")
    assert counts == (True, 98, 14)
    assert len(found.train) + len(found.val) + len(bad) == counts.total
    names = {splits.train.name(int(i)) for i in found.train.indices}
    assert names | set(bad) == {splits.train.name(i) for i in range(len(splits.train))}
    assert not names & set(bad)
    assert found.val is splits.val
    assert found.test is found.val
    for i in range(len(found.train)):
        found.train[i][0].pixels()


def test_nothing_bad_is_nothing_changed(tmp_path):
    root, cache = make(tmp_path / "root"), tmp_path / "cache"
    prepare(root, cache)
    splits = load(root, cache)
    for policy in ("strict", "quarantine"):
        found, counts = without_bad(splits, root, cache, policy)
        assert found == splits
        assert counts == (True, 24, 0)


def small(root, tmp_path, *more):
    return [
        "data=folder", f"data.root={root}", f"paths.cache={tmp_path / 'cache'}",
        f"paths.logs={tmp_path / 'logs'}", "debug=fast", "precision=fp32", "trainer=cpu",
        "model.width=0.125", "data.image_size=32", "model.stem=small", "data.limit=null",
        "data.batch_size=8", "data.eval_batch_size=8", "data.holdout=0.2", "data.workers=1", *more,
    ]  # fmt: skip


def test_a_training_with_a_manifest(spoiled, tmp_path):
    root, _, bad = spoiled
    result = call(*small(root, tmp_path))
    assert result.returncode == 2, result.stderr
    assert f"14 of 98 images cannot be read:\n  {bad[0]}: " in result.stderr
    assert not run_dirs(tmp_path)
    result = call(*small(root, tmp_path, "data.bad=quarantine"))
    assert result.returncode == 0, result.stderr
    assert "bad       14 of 98 images quarantined, 84 good" in result.stdout
    (run,) = run_dirs(tmp_path)
    images = record(run)["images"]
    assert images == {"verified": True, "total": 98, "quarantined": 14}
    line = next(line for line in result.stdout.splitlines() if line.startswith("images "))
    train, val, test = (int(found) for found in re.findall(r"(\d+) (?:train|val|test)", line))
    assert train + val + test + images["quarantined"] == images["total"]


def test_a_training_without_one_stops_at_the_image(tmp_path):
    root = make(tmp_path / "root", each=12)
    for name in CLASSES:
        for path in sorted((root / "train" / name).iterdir())[::3]:
            path.write_bytes(path.read_bytes()[:300])
    result = call(*small(root, tmp_path, "epochs=3"))
    assert result.returncode == 2, result.stdout + result.stderr
    assert "Traceback" not in result.stderr
    assert f"\ncannot read the image {root}/train/" in f"\n{result.stderr}"
    assert "python src/prepare.py data.root=" in result.stderr


def test_a_packed_root_is_staged_and_trained_on(tmp_path):
    """And its classes are compared with those of a checkpoint."""
    root, cache = make(tmp_path / "root", each=12), tmp_path / "cache"
    prepare(root, cache, tmp_path / "packed")
    node = tmp_path / "node"
    result = call(*small(tmp_path / "packed", tmp_path, f"data.stage_to={node}", "test=false"))
    assert result.returncode == 0, result.stderr
    assert result.stdout.startswith("staging   ")
    (copy,) = node.glob("packed-*")
    (run,) = run_dirs(tmp_path)
    about = json.loads((copy / "packed.json").read_text())
    about["classes"][0] = "wasp"
    about["fingerprint"] = packed.fingerprint(about["classes"], about["splits"])
    (copy / "packed.json").write_text(json.dumps(about))
    message = call(f"run={run}", f"data.root={copy}", "trainer=cpu", script="eval").stderr
    assert "first at 0: 'ant' against 'wasp'" in message
