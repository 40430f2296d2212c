"""What a step optimises, what an evaluation counts, and which weights it judges."""

import numpy as np
import pytest
import torch
from tiny_fit import CLASSES, Net, Images, data, module, trainer
from torch import nn

from deeper.augment.mix import Mix
from deeper.checkpoint import contents
from deeper.training.loss import CrossEntropy
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
    """Of a network that would answer with auxiliary heads in evaluation, too."""

    class Chatty(Net):
        def forward(self, x):
            output = super().forward(x)
            return output._replace(aux={"norm": output.logits * 100})

    model = module(Chatty(), loss=CrossEntropy(0.3))
    run = trainer()
    run.validate(model, data(), verbose=False)
    expected, _ = by_hand(model.net, model.preprocess)
    assert float(run.callback_metrics["val/loss"]) == pytest.approx(expected, rel=1e-5)


def test_a_training_step_adds_the_weighted_aux_losses():
    model = module(Net(aux=True), loss=CrossEntropy(0.3)).train()
    module_data = data()
    module_data.setup()
    batch = next(iter(module_data.train_dataloader()))
    parts = model.training_step(batch, 0)
    torch.testing.assert_close(parts["loss"], parts["loss_main"] + 0.3 * parts["loss_aux/norm"])
    parts["loss"].backward()
    assert all(p.grad is not None for p in model.parameters())


def test_a_network_that_answers_a_tensor():
    model = module(nn.Sequential(nn.Flatten(), nn.Linear(108, 3)))
    logits, aux = model(torch.zeros(2, 3, 6, 6, dtype=torch.uint8))
    assert (logits.shape, aux) == ((2, 3), {})


def test_a_stand_in_is_judged_but_not_trained_or_saved():
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
