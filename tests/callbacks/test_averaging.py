"""Averages against averages computed by hand, and which weights are saved under which name."""

import re
from copy import deepcopy

import lightning as L
import pytest
import torch
from tiny_fit import Net, data, module, trainer
from torch import nn

from deeper import checkpoint
from deeper.callbacks.averaging import Averaging
from deeper.models.output import Output


class Diary(L.Callback):
    """The live network after every optimizer step."""

    def __init__(self):
        self.nets, self._step = [], 0

    def on_train_batch_end(self, trainer, pl_module, *_):
        if trainer.global_step != self._step:
            self._step = trainer.global_step
            self.nets.append(clone(pl_module.net.state_dict()))


def clone(state):
    return {name: value.clone() for name, value in state.items()}


def fit(averaging, *callbacks, net=None, epochs=2, **options):
    diary, model = Diary(), module(net)
    run = trainer(averaging, diary, *callbacks, max_epochs=epochs, **options)
    run.fit(model, data())
    return diary.nets, averaging.average.state_dict(), model, run


def polyak_mean(nets, name):
    return torch.stack([net[name].double() for net in nets]).mean(0).float()


def assert_close(found, expected, names):
    for name in names:
        torch.testing.assert_close(found[name], expected[name], msg=lambda m, n=name: f"{n}: {m}")


WEIGHTS = [name for name, _ in Net().named_parameters()]
STATISTICS = ["norm.running_mean", "norm.running_var"]


@pytest.mark.parametrize("accumulate", [1, 2])
@pytest.mark.parametrize(("start", "first"), [(0.0, 1), (0.5, 3), (0.75, 5), (0.95, 6)])
def test_polyak_is_the_mean_of_all_iterates_from_its_start(start, first, accumulate):
    """Of 6 steps; gradients that are still accumulated are no step."""
    averaging = Averaging("polyak", start=start)
    nets, average, _, _ = fit(averaging, accumulate_grad_batches=accumulate)
    assert len(nets) == 6
    assert averaging.steps == 6 - first + 1
    kept = nets[first - 1 :]
    assert_close(average, {name: polyak_mean(kept, name) for name in WEIGHTS}, WEIGHTS)


def test_polyak_follows_a_drift_after_millions_of_steps():
    """Weights of 0.03 drift by 6e-4 after 2 million steps. A float32 mean followed none of it."""
    net, averaging, steps, n = nn.Linear(64, 1), Averaging("polyak"), 2_000_000, 20_000
    with torch.no_grad():
        net.weight.fill_(0.03)
        averaging.setup(None, module(net), "fit")
        averaging.steps = steps
        averaging._sums = [p.double() * steps for p in net.parameters()]
        in_float32 = net.weight.clone()
        net.weight += 6e-4
        for step in range(steps, steps + n):
            averaging.update(net)
            in_float32 += (net.weight - in_float32) / (step + 1)
        mean = averaging._sums[0] / averaging.steps
    share = n / (steps + n)
    assert float(((mean - 0.03) / 6e-4).mean()) == pytest.approx(share, rel=1e-3)
    assert float(((in_float32 - 0.03) / 6e-4).mean()) < 0.01 * share


@pytest.mark.parametrize("decay", [0.0, 0.15, 0.99])
def test_ema_forgets_faster_while_it_has_seen_little(decay):
    nets, average, _, _ = fit(Averaging("ema", decay=decay))
    expected = {name: value.double() for name, value in nets[0].items()}
    for n, net in enumerate(nets[1:], start=1):
        d = min(decay, (1 + n) / (10 + n))
        for name in WEIGHTS + STATISTICS:
            expected[name] = d * expected[name] + (1 - d) * net[name].double()
    expected = {name: value.float() for name, value in expected.items()}
    assert_close(average, expected, WEIGHTS + STATISTICS)
    assert average["norm.num_batches_tracked"] == nets[-1]["norm.num_batches_tracked"] == 6


@pytest.mark.parametrize("kind", ["ema", "polyak"])
def test_the_average_has_no_part_in_training(kind):
    plain = Diary()
    trainer(plain).fit(module(), data())
    nets, _, model, _ = fit(Averaging(kind, bn_batches=2 if kind == "polyak" else 0))
    for ours, theirs in zip(nets, plain.nets, strict=True):
        assert_close(ours, theirs, theirs)
    assert model._evaluation_network == []


def test_a_checkpoint_holds_live_and_averaged_weights(tmp_path):
    averaging = Averaging("polyak", bn_batches=2)
    nets, average, model, run = fit(averaging)
    run.save_checkpoint(tmp_path / "last.ckpt", weights_only=False)
    saved = checkpoint.load_checkpoint(tmp_path / "last.ckpt")
    assert_close(checkpoint.network_state(saved, "live"), nets[-1], nets[-1])
    assert_close(checkpoint.network_state(saved), average, average)
    assert saved["averaged_steps"] == 6
    assert not torch.equal(saved["averaged_state_dict"]["conv.weight"], nets[-1]["conv.weight"])
    assert set(saved["state_dict"]) == set(model.state_dict())


def test_before_its_start_the_live_weights_are_evaluated():
    """The first of two validations comes after half of the training."""
    seen = []

    class Look(L.Callback):
        def on_validation_batch_start(self, trainer, pl_module, batch, batch_idx, *_):
            if batch_idx == 0:
                saved = trainer._checkpoint_connector.dump_checkpoint(weights_only=False)
                seen.append((len(pl_module._evaluation_network), "averaged_state_dict" in saved))

    fit(Averaging("polyak", start=0.6), Look())
    assert seen == [(0, False), (1, True)]


@pytest.mark.parametrize("kind", ["ema", "polyak"])
def test_a_resumed_average_is_the_uninterrupted_one(tmp_path, kind):
    """To the bit: 2 epochs, then 2 more from the file, against 4."""
    make = lambda: Averaging(kind, start=0.25, bn_batches=2 if kind == "polyak" else 0)  # noqa: E731
    _, whole, _, _ = fit(make(), epochs=4)

    class Stop(L.Callback):
        def on_train_epoch_end(self, trainer, pl_module):
            if trainer.current_epoch == 1:
                trainer.save_checkpoint(tmp_path / "last.ckpt", weights_only=False)
                trainer.should_stop = True

    fit(make(), Stop(), epochs=4)
    second = make()
    trainer(second, max_epochs=4).fit(
        module(), data(), ckpt_path=tmp_path / "last.ckpt", weights_only=True
    )
    resumed = second.average.state_dict()
    assert all(torch.equal(resumed[name], whole[name]) for name in whole)


@pytest.mark.parametrize(
    ("averaging", "net", "expected"),
    [
        (Averaging("polyak", bn_batches=2), None, ["stale", "current", "stale"]),
        (Averaging("polyak"), None, ["stale", "stale", "stale"]),
        (Averaging("polyak"), Net(norm=False), ["current", "current", "current"]),
        (Averaging("ema"), None, ["current", "current", "current"]),
    ],
)
def test_a_checkpoint_says_whether_its_statistics_are_of_its_weights(averaging, net, expected):
    """Validation comes every second epoch: those of the others are not estimated for the weights."""
    found = []

    class Save(L.Callback):
        def on_train_epoch_end(self, trainer, pl_module):
            state = trainer._checkpoint_connector.dump_checkpoint(weights_only=False)
            found.append(state["averaged_statistics"])

    fit(averaging, Save(), net=net, epochs=3, check_val_every_n_epoch=2)
    assert found == expected


class Failing(L.Callback):
    """Validation breaks in its second batch; then the state is saved, as a last rescue would."""

    def __init__(self, path):
        self.path = path

    def on_validation_batch_start(self, trainer, pl_module, batch, batch_idx, *_):
        if batch_idx == 1 and trainer.current_epoch == 1:
            raise ArithmeticError("in validation")

    def on_exception(self, trainer, pl_module, exception):
        trainer.save_checkpoint(self.path, weights_only=False)


@pytest.mark.parametrize("kind", ["ema", "polyak"])
def test_state_is_the_live_one_even_after_a_failed_validation(tmp_path, kind):
    diary, model = Diary(), module()
    averaging = Averaging(kind)
    run = trainer(averaging, diary, Failing(tmp_path / "rescue.ckpt"))
    with pytest.raises(ArithmeticError, match="in validation"):
        run.fit(model, data())
    run.save_checkpoint(tmp_path / "after.ckpt", weights_only=False)
    for name in ("rescue.ckpt", "after.ckpt"):
        saved = checkpoint.load_checkpoint(tmp_path / name)
        live = checkpoint.network_state(saved, "live")
        assert all(torch.equal(live[key], diary.nets[-1][key]) for key in live), name
        average = averaging.average.state_dict()
        assert all(torch.equal(saved["averaged_state_dict"][k], average[k]) for k in average), name


def statistics_by_hand(net, model, batches):
    """Each batch's own mean and unbiased variance before the norm, averaged over batches."""
    net, found = deepcopy(net).eval(), []
    net.norm.register_forward_pre_hook(
        lambda _, x: found.append((x[0].mean((0, 2, 3)), x[0].var((0, 2, 3), unbiased=True)))
    )
    with torch.no_grad():
        for batch in batches:
            net(model.preprocess(batch.images))
    return [torch.stack(values).mean(0) for values in zip(*found, strict=True)]


class Evaluated(L.Callback):
    """The averaged network as validation sees it, copied at each validation's first batch."""

    def __init__(self):
        self.nets = []

    def on_validation_batch_start(self, trainer, pl_module, batch, batch_idx, *_):
        if batch_idx == 0:
            (net,) = pl_module._evaluation_network
            self.nets.append(deepcopy(net))


@pytest.mark.parametrize("dropout", [0.0, 0.5])
@pytest.mark.parametrize("bn_batches", [1, 3])
def test_polyak_statistics_are_cumulative_over_calibration_batches(bn_batches, dropout):
    seen, averaging = Evaluated(), Averaging("polyak", bn_batches=bn_batches)
    _, _, model, run = fit(averaging, seen, net=Net(dropout))
    assert len(seen.nets) == 2
    for net in seen.nets:
        batches = list(run.datamodule.calibration_batches(bn_batches))
        assert len(batches) == bn_batches
        mean, var = statistics_by_hand(net, model, batches)
        torch.testing.assert_close(net.norm.running_mean, mean)
        torch.testing.assert_close(net.norm.running_var, var)
        assert not any(part.training for part in net.modules())
        assert net.norm.momentum == 0.1


class NetWithAuxNorm(Net):
    """An auxiliary head with a norm, which runs in training alone."""

    def __init__(self):
        super().__init__()
        self.aux_norm = nn.BatchNorm1d(4)

    def forward(self, x):
        features = self.norm(self.conv(x)).relu().mean((2, 3))
        if self.training:
            self.aux_norm(features)
        return Output(self.head(features), {})


def test_norms_that_do_not_run_keep_their_statistics():
    nets, average, _, _ = fit(Averaging("ema", decay=0.5), net=NetWithAuxNorm())
    again, estimated, _, _ = fit(Averaging("ema", decay=0.5, bn_batches=2), net=NetWithAuxNorm())
    for name in ("aux_norm.running_mean", "aux_norm.running_var"):
        assert torch.equal(average[name], estimated[name])
        assert average[name].abs().sum() > 0
    assert torch.equal(nets[-1]["conv.weight"], again[-1]["conv.weight"])


def test_a_network_without_batch_norm():
    nets, average, _, run = fit(Averaging("polyak", bn_batches=2), net=Net(norm=False))
    names = list(nets[0])
    assert_close(average, {name: polyak_mean(nets, name) for name in names}, names)
    assert int(run.callback_metrics["val/n"]) == 10


def test_validation_evaluates_the_average():
    """An average of weights that are set by hand to always predict class 2."""

    class Fixed(L.Callback):
        def on_validation_batch_start(self, trainer, pl_module, batch, batch_idx, *_):
            nn.init.zeros_(pl_module._evaluation_network[0].head.weight)
            pl_module._evaluation_network[0].head.bias.copy_(torch.tensor([0.0, 0.0, 9.0]))

    _, _, model, run = fit(Averaging("ema"), Fixed())
    assert float(run.callback_metrics["val/top1"]) == pytest.approx(0.3)  # labels 2, 5, 8 of 0..9
    assert model.net.head.bias[2] != 9


def test_the_test_evaluates_the_average_too():
    """Without a Checkpoint callback, whose best file is loaded first, train.py tests what is there."""
    _, _, model, run = fit(Averaging("ema", decay=0.99))
    val = {k.removeprefix("val/"): float(v) for k, v in run.callback_metrics.items()}
    run.test(model, run.datamodule, verbose=False)  # the same images as val's
    assert float(run.callback_metrics["test/loss"]) == pytest.approx(val["loss"], rel=1e-6)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"decay": 1.0}, "decay=1.0: must lie in 0..1 (1 excluded)"),
        ({"start": 1.0}, "start=1.0: a fraction of the training, in 0..1 (1 excluded)"),
        ({"start": -0.1}, "start=-0.1: a fraction of the training, in 0..1 (1 excluded)"),
        ({"bn_batches": -1}, "bn_batches=-1: must be at least 0"),
    ],
)
def test_refusals(options, message):
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        Averaging(**options)
