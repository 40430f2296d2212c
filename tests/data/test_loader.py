"""The loader asks its sampler for nothing before the first batch is wanted."""

from deeper.data.loader import LazyLoader


def test_nothing_is_asked_before_the_first_batch_is_wanted():
    asked = []

    def order():
        for number in range(3):
            asked.append(number)
            yield number

    batches = iter(LazyLoader([1, 2, 3], batch_size=None, sampler=order(), num_workers=1))
    assert asked == []
    assert list(batches) == [1, 2, 3]
    assert asked == [0, 1, 2]
