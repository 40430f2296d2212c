"""Signatures read from source are those that Python has after the import."""

import inspect
import pkgutil
import re

import pytest
from entry import PROJECT

from deeper.config.parsed_signatures import parsed_parameters

TARGETS = sorted(
    {
        target
        for file in (PROJECT / "configs").glob("*/**/*.yaml")
        for target in re.findall(r"_target_: (deeper\.[\w.]+)", file.read_text())
    }
)


@pytest.mark.parametrize("target", TARGETS)
def test_names_kinds_and_which_have_a_default(target):
    parsed = parsed_parameters(target)
    if parsed is None:  # a class without an __init__ of its own
        assert "__init__" not in vars(pkgutil.resolve_name(target))
        return
    imported = inspect.signature(pkgutil.resolve_name(target)).parameters
    described = [
        [(p.name, p.kind, p.default is p.empty) for p in parameters.values()]
        for parameters in (parsed, imported)
    ]
    assert described[0] == described[1]


@pytest.mark.parametrize(
    "target", ["torch.optim.SGD", "os.system", "deeper.files.whole", "deeper.nothing.There"]
)
def test_what_is_no_class_or_function_of_ours_is_left_to_its_import(target):
    assert parsed_parameters(target) is None


def test_annotations_that_need_no_import_are_types():
    sgd = parsed_parameters("deeper.training.optimizers.sgd")
    assert sgd["lr"].annotation is float
    assert sgd["lr_base_batch"].annotation == int | None
    assert sgd["net"].annotation == "nn.Module"
