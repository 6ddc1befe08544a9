import pytest
import torch
from torch import nn

from ptsa_lite.training.formats import ShortLayerNorm, number_format, short_norms


def test_auto_is_bfloat16_on_a_gpu_and_float32_elsewhere():
    cpu, cuda = torch.device("cpu"), torch.device("cuda")
    assert number_format("auto", cuda) == "bfloat16" and number_format("auto", cpu) == "float32"
    assert number_format("float16", cpu) == "float16"
    with pytest.raises(ValueError, match="unknown number format 'fp16'. Choose from: auto, float32"):
        number_format("fp16", cpu)
    with pytest.raises(ValueError, match="an Apple GPU lacks float64.*move the model to the processor"):
        number_format("auto", torch.device("mps"))


def test_layer_norms_take_the_short_form_in_place_and_are_what_they_were_without_autocast():
    model = nn.Sequential(nn.LayerNorm(8), nn.Linear(8, 8))
    x = torch.randn(3, 8)
    before, names = model(x), list(model.state_dict())
    assert type(short_norms(model)[0]) is ShortLayerNorm and list(model.state_dict()) == names
    with torch.autocast("cpu", torch.bfloat16):
        assert model[0](x).dtype == torch.float32  # as torch's own does
    assert torch.equal(model(x), before)


@pytest.mark.gpu
def test_on_a_gpu_a_layer_norm_stays_in_the_products_format():
    plain, x = nn.LayerNorm(64).cuda(), torch.randn(5, 64).cuda()
    nn.init.normal_(plain.weight)
    with torch.autocast("cuda", torch.bfloat16):
        expected, short = plain(x), short_norms(nn.Sequential(plain))(x)
    assert expected.dtype == torch.float32 and short.dtype == torch.bfloat16
    torch.testing.assert_close(short.float(), expected, atol=0.02, rtol=0.02)
