"""A training that diverges, from the command line to what it leaves."""

from entry import call, record, rows, run_dirs, small

from deeper import checkpoint


def test_a_rate_that_is_too_high_ends_as_diverged(images, tmp_path):
    """The first epoch is harmless, so that there is a checkpoint to keep."""
    words = ["epochs=3", "scheduler=onecycle", "optimizer.lr=1e6", "model.width=0.125"]
    result = call(*small(images, tmp_path), *words)
    assert result.returncode == 1
    assert "not finite at step" in result.stderr
    (run,) = run_dirs(tmp_path)
    content = record(run)
    assert content["status"] == "diverged"
    assert content["error"].startswith("Diverged: the ")
    assert "results" not in content
    assert "NaN" not in (run / "metrics.jsonl").read_text()
    assert len(rows(run)) >= 1
    for file in (run / "checkpoints").glob("*.ckpt"):
        state = checkpoint.load_checkpoint(file)["state_dict"].values()
        assert all(t.isfinite().all() for t in state if t.is_floating_point())
