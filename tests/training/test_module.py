"""What a step optimises, what an evaluation computes and logs, and with which weights."""

from functools import partial

import numpy as np
import pytest
import torch
from tiny_fit import CLASSES, Images, Net, Rows, data, module, trainer
from torch import nn
from torchmetrics.classification import MulticlassF1Score

from deeper.augment.mix import Mix
from deeper.checkpoint import contents
from deeper.config.instantiate import build
from deeper.models.output import Output
from deeper.training.failures import Diverged
from deeper.training.loss import BinaryCrossEntropy, CrossEntropy
from deeper.training.schedules import Progress


def by_hand(net, preprocess):
    """Loss and top1 over the ten validation images, one by one."""
    images = Images(10)
    losses, right = [], 0
    for i in range(10):
        image, label = images[i]
        pixels = torch.from_numpy(np.array(image)).permute(2, 0, 1)[None]
        with torch.no_grad():
            logits = net.eval()(preprocess(pixels)).logits[0]
        losses.append(-logits.log_softmax(0)[label])
        right += int(logits.argmax()) == label
    return float(torch.stack(losses).mean()), right / 10


@pytest.mark.parametrize("batch", [1, 4, 64])
def test_evaluation_counts_each_image_once(batch):
    model = module()
    loss, top1 = by_hand(model.net, model.preprocess)
    for split in ("validate", "test"):
        run = trainer()
        getattr(run, split)(model, data(eval_batch_size=batch), verbose=False)
        name = {"validate": "val", "test": "test"}[split]
        found = {k: float(v) for k, v in run.callback_metrics.items()}
        assert found == pytest.approx(
            {f"{name}/loss": loss, f"{name}/top1": top1, f"{name}/top5": 1.0, f"{name}/n": 10},
            rel=1e-5,
        )


def test_training_images_grow_and_those_of_evaluations_are_whole():
    seen: dict[bool, list[int]] = {True: [], False: []}

    class Seen(Net):
        def forward(self, x):
            seen[self.training].append(x.shape[-1])
            return super().forward(nn.functional.pad(x, (1, 1, 1, 1)))

    run = trainer(max_epochs=4)
    run.fit(module(Seen(), initial_scale=0.34), data())
    assert seen[True] == [2] * 8 + [6] * 4  # of 12 steps, from 0.65 of the training on
    assert {*seen[False]} == {6}


@pytest.mark.parametrize("limit", [1, 2, 0.5])
def test_a_limited_evaluation_counts_what_it_saw(limit):
    run = trainer(limit_val_batches=limit)
    run.validate(module(), data(), verbose=False)
    assert int(run.callback_metrics["val/n"]) == (8 if limit == 2 else 4)


def test_a_lost_image_is_noticed():
    class Losing(type(module())):
        def validation_step(self, batch, batch_idx):
            super().validation_step(
                batch._replace(valid=batch.valid & (batch.index != 3)), batch_idx
            )

    model = module()
    model.__class__ = Losing
    with pytest.raises(AssertionError, match="9 of 10 images counted"):
        trainer().validate(model, data(), verbose=False)


def test_validation_reports_the_main_loss_alone():
    """Of a network that gives auxiliary outputs in evaluation too."""

    class Chatty(Net):
        def forward(self, x):
            output = super().forward(x)
            return output._replace(aux={"norm": output.logits * 100})

    model = module(Chatty(), loss=CrossEntropy(0.3))
    run = trainer()
    run.validate(model, data(), verbose=False)
    expected, _ = by_hand(model.net, model.preprocess)
    assert float(run.callback_metrics["val/loss"]) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("loss", [CrossEntropy(0.3, label_smoothing=0.5), BinaryCrossEntropy()])
def test_val_loss_is_the_negative_log_likelihood_whatever_is_trained(loss):
    model, run = module(loss=loss), trainer()
    expected, _ = by_hand(model.net, model.preprocess)
    for evaluate, name in ((run.validate, "val/loss"), (run.test, "test/loss")):
        evaluate(model, data(), verbose=False)
        assert float(run.callback_metrics[name]) == pytest.approx(expected, rel=1e-5), name


def test_a_validation_row_has_the_number_of_steps_done():
    log = Rows()
    trainer(logger=log, max_epochs=2).fit(module(), data())
    rows = [row for row in log.rows if "val/loss" in row]
    assert [(row["step"], row["epoch"]) for row in rows] == [(3, 0), (6, 1)]
    assert rows[0].keys() == {"step", "epoch", "val/loss", "val/top1", "val/top5", "val/n"}


def test_a_training_step_adds_the_weighted_aux_losses():
    model = module(Net(aux=True), loss=CrossEntropy(0.3)).train()
    module_data = data()
    module_data.setup()
    batch = next(iter(module_data.train_dataloader()))
    model.trainer = trainer()
    parts = model.training_step(batch, 0)
    torch.testing.assert_close(parts["loss"], parts["loss_main"] + 0.3 * parts["loss_aux/norm"])
    parts["loss"].backward()
    assert all(p.grad is not None for p in model.parameters())


def test_a_network_whose_output_is_a_tensor():
    model = module(nn.Sequential(nn.Flatten(), nn.Linear(108, 3)))
    logits, aux = model(torch.zeros(2, 3, 6, 6, dtype=torch.uint8))
    assert (logits.shape, aux) == ((2, 3), {})


def test_another_network_is_evaluated_but_not_trained_or_saved():
    model, other = module(), Net(seed=9)
    images = torch.randint(256, (2, 3, 6, 6), dtype=torch.uint8)
    keys = set(model.state_dict())
    model.set_evaluation_network(other.eval())
    expected = other(model.preprocess(images)).logits
    assert torch.equal(model.eval()(images).logits, expected)
    assert not torch.equal(model.train()(images).logits, expected)
    assert set(model.state_dict()) == keys
    assert len(list(model.parameters())) == len(list(model.net.parameters()))
    model.set_evaluation_network(None)
    assert torch.equal(model.eval()(images).logits, model.net(model.preprocess(images)).logits)


def test_dropout_follows_from_seed_epoch_and_step():
    def weights(**options):
        model = module(Net(dropout=0.5))
        torch.seed()  # what was drawn before has no say
        trainer(**options).fit(model, data())
        return torch.cat([p.detach().flatten() for p in model.net.parameters()])

    assert torch.equal(weights(), weights(limit_val_batches=0))


def test_mixing_is_of_training_alone_and_follows_from_seed_epoch_and_step():
    """Two epochs of three steps, and again; evaluation gets the images as they are."""

    def seen():
        batches, model = [], module()
        model.mix = Mix(0.2, 1.0)
        model.loss.register_forward_pre_hook(lambda _, args: batches.append(args[1]))
        run = trainer()
        run.fit(model, data())
        assert len(batches) == 6
        loss, _ = by_hand(model.net, model.preprocess)
        assert float(run.callback_metrics["val/loss"]) == pytest.approx(loss, rel=1e-5)
        return batches

    first, again = seen(), seen()
    assert all(targets.shape == (6, 3) for targets in first)
    assert all(map(torch.equal, first, again))
    shares = {float(targets.max(1).values.min()) for targets in first}
    assert len(shares - {1.0}) > 3


def test_every_step_has_a_seed_of_its_own():
    seeds, model = [], module()
    model.net.register_forward_pre_hook(lambda net, _: seeds.append(torch.initial_seed()))
    trainer(limit_val_batches=0).fit(model, data())
    assert len(set(seeds)) == 6


@pytest.mark.parametrize(
    ("options", "batch", "steps"),
    [
        ({}, 6, 3),
        ({"accumulate_grad_batches": 2}, 6, 3),
        ({"limit_train_batches": 2}, 6, 2),
        ({"limit_train_batches": 1}, 6, 1),
        ({"limit_train_batches": 0.7}, 6, 2),
        ({"limit_train_batches": 99}, 6, 3),
        ({"limit_train_batches": 4, "accumulate_grad_batches": 2}, 6, 2),
        ({"limit_train_batches": 3, "accumulate_grad_batches": 2}, 6, 2),
        ({"limit_train_batches": 5, "accumulate_grad_batches": 2}, 6, 3),
        ({}, 7, 2),
    ],
)
def test_the_schedule_sees_every_step_and_ends_at_1(options, batch, steps):
    seen = []
    model = module(scheduler=lambda progress: seen.append(progress) or 1.0)
    run = trainer(max_epochs=2, limit_val_batches=0, **options)
    run.fit(model, data(batch_size=batch))
    assert run.global_step == 2 * steps
    total = 2 * steps
    seen = list(dict.fromkeys(seen))  # each parameter group asks
    assert seen == [Progress(s / total, s / steps, 2) for s in range(total + 1)]


def test_rates_follow_the_schedule():
    model = module(lr=0.5, scheduler=lambda progress: 1 - progress.fraction / 2)
    run = trainer(limit_val_batches=0)
    run.fit(model, data())
    assert {group["lr"] for group in run.optimizers[0].param_groups} == {0.25}


def test_a_checkpoint_says_what_it_is_and_is_refused_for_other_classes(tmp_path):
    run, model = trainer(max_epochs=1), module()
    run.fit(model, data())
    run.save_checkpoint(tmp_path / "last.ckpt", weights_only=False)
    other = module()
    trainer(max_epochs=2).fit(other, data(), ckpt_path=tmp_path / "last.ckpt", weights_only=True)
    other.checkpoint_metadata = contents({}, [*CLASSES[:2], "dog"])
    with pytest.raises(ValueError, match="first at 2: 'cat' against 'dog'"):
        trainer(max_epochs=3).fit(
            other, data(), ckpt_path=tmp_path / "last.ckpt", weights_only=True
        )


class WithNaN(Net):
    """NaN logits for images darker than their batch, which `topk` would rank first."""

    def forward(self, x):
        logits = super().forward(x).logits
        dark = x.mean((1, 2, 3)) < x.mean()
        return Output(torch.where(dark[:, None], torch.nan, logits), {})


def test_nan_logits_count_as_wrong_and_in_the_loss():
    run = trainer()
    run.validate(module(WithNaN()), data(), verbose=False)
    found = {name: float(value) for name, value in run.callback_metrics.items()}
    assert found["val/n"] == 10
    assert found["val/top5"] < 1  # of 3 classes, else all are right
    assert np.isnan(found["val/loss"])


def test_a_validation_loss_that_is_not_finite_ends_the_training():
    class InEvaluation(WithNaN):
        def forward(self, x):
            return Net.forward(self, x) if self.training else super().forward(x)

    run = trainer()
    with pytest.raises(Diverged, match="the validation loss is not finite at step 3 ") as caught:
        run.fit(module(InEvaluation()), data())
    assert (caught.value.step, caught.value.samples) == (3, [])


def test_metrics_of_the_users_own_see_every_image_once(configs):
    """From YAML alone. The micro mean of F1 is the accuracy; padding is left out."""
    cfg = configs("metrics=[f1,calibration]")
    assert cfg.metrics.keys() == {"f1", "calibration_error"}
    micro = {
        "_target_": "torchmetrics.classification.MulticlassF1Score",
        "_partial_": True,
        "average": "micro",
    }
    model, log = module(metrics=build({**cfg.metrics, "micro": micro})), Rows()
    run = trainer(logger=log)
    run.validate(model, data(), verbose=False)
    run.test(model, data(), verbose=False)
    for split, row in zip(("val", "test"), log.rows, strict=True):
        assert 0 < row[f"{split}/f1"] < 1
        assert row[f"{split}/micro"] == pytest.approx(row[f"{split}/top1"])
        assert 0 < row[f"{split}/calibration_error"] < 1
    assert "metrics.f1" not in " ".join(model.state_dict())
    images = data()
    images.setup()
    padding = next(iter(images.val_dataloader()))
    with torch.inference_mode():
        model.validation_step(padding._replace(valid=torch.zeros_like(padding.valid)), 0)


@pytest.mark.parametrize(
    ("metrics", "message"),
    [
        ({"top1": MulticlassF1Score(3)}, "metrics.top1: this name is taken; choose another"),
        ({"f1": partial(MulticlassF1Score, average="mean")}, "metrics.f1: .*average.*"),
        (
            {"f1": partial(MulticlassF1Score, average="none")},
            "metrics.f1: gives 3 numbers, and one is logged",
        ),
    ],
)
def test_metrics_that_cannot_be_logged(metrics, message):
    with pytest.raises(ValueError, match=f"^{message}"):
        trainer().validate(module(metrics=metrics), data(), verbose=False)
