import json
import math

import pytest
import torch
import yaml
from hypothesis import given
from hypothesis import strategies as st
from timm.scheduler import CosineLRScheduler

from ptsa_lite.recipe import TrainConfig, learning_rate

STEPS = 156  # an epoch of PASCAL-Context's 4,998 images in batches of 32


def test_the_defaults_are_the_recipe():
    config = TrainConfig()
    assert config.base_lr * config.batch_size / 512 == 3.125e-5
    assert (config.epochs, config.warmup_epochs, config.weight_decay, config.clip_norm) == (300, 20, 0.05, 5)
    assert config.betas == (0.9, 0.999) and config.eval_every == 20


def test_rates_of_the_recipe_at_the_steps_that_matter():
    config, warmup, total = TrainConfig(), 20 * STEPS, 300 * STEPS
    peak, first, last = 3.125e-5, 5e-7 / 16, 5e-6 / 16
    rates = {step: learning_rate(step, config, STEPS) for step in (0, 1, warmup, (warmup + total) // 2, total)}
    expected = [first, first + (peak - first) / warmup, peak, (peak + last) / 2, last]
    assert list(rates.values()) == pytest.approx(expected, rel=1e-12)
    # the last update's rate has all but reached the end of the cosine
    assert last < learning_rate(total - 1, config, STEPS) < last * 1.0001


def test_the_schedule_equals_timms():
    """An independent implementation, in the setting of the MTLoRA line: per step, warm-up before the cosine."""
    config, steps = TrainConfig(epochs=10, warmup_epochs=2), 7
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=5e-4 / 16)
    timm = CosineLRScheduler(
        optimizer, t_initial=8 * steps, lr_min=5e-6 / 16, warmup_lr_init=5e-7 / 16, warmup_t=2 * steps,
        warmup_prefix=True, t_in_epochs=False, cycle_limit=1,
    )  # fmt: skip
    for step in range(10 * steps):
        timm.step_update(step)
        assert learning_rate(step, config, steps) == pytest.approx(optimizer.param_groups[0]["lr"], rel=1e-9)


def test_an_explicit_rate_keeps_the_shape():
    config = TrainConfig(lr=1e-2, epochs=4, warmup_epochs=1)
    assert learning_rate(0, config, 10) == pytest.approx(1e-5)
    assert learning_rate(10, config, 10) == pytest.approx(1e-2)
    assert learning_rate(40, config, 10) == pytest.approx(1e-4)


def test_no_warm_up_starts_at_the_peak():
    assert learning_rate(0, TrainConfig(lr=1e-3, warmup_epochs=0), 10) == 1e-3


@given(
    epochs=st.integers(1, 50), steps=st.integers(1, 40), share=st.floats(0, 0.99), batch=st.integers(1, 512),
    step=st.integers(0, 4000),
)  # fmt: skip
def test_every_rate_lies_between_the_lowest_and_the_peak(epochs, steps, share, batch, step):
    config = TrainConfig(epochs=epochs, warmup_epochs=share * epochs, batch_size=batch)
    rate = learning_rate(step, config, steps)
    assert 5e-7 * batch / 512 * (1 - 1e-9) <= rate <= 5e-4 * batch / 512 * (1 + 1e-9)


@given(
    st.fixed_dictionaries(
        {"epochs": st.integers(21, 999), "batch_size": st.integers(1, 99)},
        optional={
            "lr": st.none() | st.floats(1e-6, 1), "seed": st.integers(0, 2**31), "workers": st.integers(0, 8),
            "betas": st.tuples(st.floats(0, 0.99), st.floats(0, 0.99)), "amp": st.sampled_from(["float32", "bfloat16"]),
            "gradient_checkpointing": st.booleans(), "weight_decay": st.floats(0, 1),
        },
    )
)  # fmt: skip
def test_a_configuration_survives_json_and_yaml(settings):
    config = TrainConfig(**settings)
    assert TrainConfig.from_dict(json.loads(json.dumps(config.to_dict()))) == config
    assert TrainConfig.from_dict(yaml.safe_load(yaml.safe_dump(config.to_dict()))) == config


BAD = [
    ({"epochs": 0}, "epochs must be a whole number of at least 1, not 0"),
    ({"epochs": 2.5}, "epochs must be a whole number"),
    ({"batch_size": 10**400}, "batch_size must be a whole number"),
    ({"lr": 10**400}, "lr must be None or a number above 0"),
    ({"epochs": True}, "epochs must be a whole number"),
    ({"batch_size": "8"}, "batch_size must be a whole number of at least 1, not '8'"),
    ({"base_lr": -1e-3}, "base_lr must be a number above 0"),
    ({"lr": 0}, "lr must be None or a number above 0, not 0"),
    ({"lr": "5e-4"}, "YAML takes 5e-4 for one, and 5.0e-4 for a number"),
    ({"lr": math.nan}, "lr must be None or a number above 0, not nan"),
    ({"warmup_epochs": -1}, "warmup_epochs must be a number of at least 0"),
    ({"epochs": 10}, r"warmup_epochs \(20\) must be below epochs \(10\)"),
    ({"min_lr": 1.0}, r"min_lr \(1.0\) must not exceed base_lr"),
    ({"weight_decay": None}, "weight_decay must be a number of at least 0, not None"),
    ({"betas": (0.9,)}, "betas must be two numbers from 0 to below 1"),
    ({"betas": (0.9, 1.0)}, "betas must be two numbers"),
    ({"clip_norm": 0}, "clip_norm must be a number above 0"),
    ({"eval_every": 0}, "eval_every must be a whole number of at least 1"),
    ({"seed": -1}, "seed must be a whole number of at least 0"),
    ({"workers": 1.0}, "workers must be a whole number of at least 0"),
    ({"amp": "half"}, "amp must be 'auto', 'float32', 'bfloat16' or 'float16', not 'half'"),
    ({"accumulate": 0}, "accumulate must be a whole number of at least 1, not 0"),
    ({"gradient_checkpointing": 1}, "gradient_checkpointing must be True or False"),
]


@pytest.mark.parametrize(("settings", "message"), BAD, ids=[str(settings) for settings, _ in BAD])
def test_a_value_that_cannot_be_is_refused_in_one_sentence(settings, message):
    with pytest.raises(ValueError, match=message) as error:
        TrainConfig(**settings)
    assert "\n" not in str(error.value)


def test_every_setting_has_a_rule():
    bad = object()
    for name in TrainConfig().to_dict():
        with pytest.raises(ValueError, match=f"^{name} must be "):
            TrainConfig(**{name: bad})


def test_an_unknown_setting_names_the_nearest():
    with pytest.raises(ValueError, match="unknown training setting 'epoch'; did you mean 'epochs'"):
        TrainConfig.from_dict({"epoch": 3})
