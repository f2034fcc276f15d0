"""The network's parts, its export and its training; torch is optional, so these run where it is installed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="torch is in the group `train` only", exc_type=ImportError)

from cutout_build.matting import export as exporting  # noqa: E402
from cutout_build.matting import losses, network  # noqa: E402

BUDGET_GMAC = 8.0


def test_it_keeps_to_its_budget() -> None:
    net = network.MattingNetwork().eval()
    counted: list[float] = []
    for module in net.modules():
        if isinstance(module, torch.nn.Conv2d):
            module.register_forward_hook(
                lambda conv, _, out: counted.append(out.numel() * conv.weight[0].numel() / 1e9)
            )
    with torch.no_grad():
        alpha = net(torch.rand(1, 3, 512, 512), torch.rand(1, 1, 512, 512), torch.zeros(1, 3, 1, 1))
    assert alpha.shape == (1, 1, 512, 512)
    assert 0 < sum(counted) <= BUDGET_GMAC
    assert sum(parameter.numel() for parameter in net.parameters()) * 4 <= 8e6


def test_far_from_an_edge_the_mask_decides() -> None:
    mask = torch.zeros(1, 1, 256, 256)
    mask[..., :128] = 1
    net = network.MattingNetwork().eval()
    torch.nn.init.normal_(net.head_out.weight)
    with torch.no_grad():
        alpha = net(torch.rand(1, 3, 256, 256), mask, torch.zeros(1, 3, 1, 1))
    inside, outside = 128 - 8 * 2, 128 + 8 * (network.REACH + 2)
    assert torch.equal(alpha[..., :inside], torch.ones_like(alpha[..., :inside]))
    assert torch.equal(alpha[..., outside:], torch.zeros_like(alpha[..., outside:]))
    assert not torch.equal(alpha, mask)


def test_pull_push_spreads_the_one_colour_that_is_known() -> None:
    image = torch.rand(1, 3, 64, 64)
    weight = torch.zeros(1, 1, 64, 64)
    image[..., 20:24, 20:24] = torch.tensor([0.9, 0.1, 0.4])[None, :, None, None]
    weight[..., 20:24, 20:24] = 1
    spread = network.pull_push(image, weight)
    known = torch.tensor([0.9, 0.1, 0.4])
    assert torch.allclose(spread[0, :, 22, 22], known, atol=0.05)
    assert (spread[0, :, 27, 27] - known).abs().max() < (image.mean((0, 2, 3)) - known).abs().max()


def side(color: torch.Tensor, known: torch.Tensor | None = None) -> torch.Tensor:
    """`network.colors` of a side, [N, 3, H, W], that is seen where `known`, [N, 1, H, W], is 1, or everywhere."""
    known = torch.ones_like(color[:, :1]) if known is None else known
    return network.colors(torch.cat([color, color.square().sum(1, keepdim=True)], 1), known)


def plain(*color: float, size: int = 16) -> torch.Tensor:
    return torch.tensor(color)[None, :, None, None].expand(1, 3, size, size)


def test_projection_finds_the_alpha_of_the_compositing_equation() -> None:
    alpha = torch.rand(1, 1, 16, 16)
    subject, background = plain(0.9, 0.2, 0.3), plain(0.1, 0.6, 0.8)
    found = network.explain(alpha * subject + (1 - alpha) * background, side(subject), side(background))
    assert (found[:, :1] + 0.5 - alpha).abs().max() < 0.02
    assert found[:, 1].abs().max() < 1e-3
    assert torch.allclose(found[:, 2], (subject - background).square().sum(1).clamp(0, 1))


def test_what_lies_beside_the_line_of_both_colours_is_unexplained() -> None:
    subject, background = plain(0.8, 0.2, 0.2), plain(0.2, 0.2, 0.2)
    beside = 0.5 * (subject + background) + plain(0.0, 0.3, 0.0)
    found = network.explain(beside, side(subject), side(background))
    assert torch.allclose(found[:, 1], torch.full_like(found[:, 1], 4 * 0.3**2), atol=0.01)


def test_colours_of_a_pattern_are_usual_beyond_where_it_is_known() -> None:
    """A dark line is usual beside dark stripes and not beside a plain ground; red is usual beside neither."""
    ground = plain(0.7, 0.7, 0.7, size=64)
    striped = ground.clone()
    striped[..., ::4, :] = 0.2
    known = torch.zeros(1, 1, 64, 64)
    known[..., :32] = 1
    seen = ground.clone()
    seen[..., 30:32, 36:44] = 0.2
    seen[..., 34:36, 36:44] = plain(1.0, 0.0, 0.0, size=1)
    found = []
    for behind in (striped, ground):
        usual = network.explain(seen, side(plain(0.0, 0.0, 1.0, size=64)), side(behind, known))[0, 4, :, 36:44]
        assert -0.5 <= usual.min() <= usual.max() <= 0.5
        found.append((usual[30:32].mean(), usual[34:36].mean()))
    (dark_striped, red_striped), (dark_plain, red_plain) = found
    assert dark_striped > dark_plain + 0.2
    assert dark_striped > red_striped
    assert dark_plain > red_plain


def test_a_plain_sides_colour_is_usual_there_and_less_so_with_the_distance() -> None:
    blue = side(plain(0.0, 0.0, 1.0))
    for channel, sides in ((3, lambda grey: (grey, blue)), (4, lambda grey: (blue, grey))):
        same, near, far = (
            network.explain(plain(*[0.5 + step] * 3), *sides(side(plain(0.5, 0.5, 0.5))))[:, channel].mean()
            for step in (0.0, 0.02, 0.3)
        )
        assert same == pytest.approx(0.5, abs=1e-3)
        assert same > near > 0 > far


def test_loss_is_zero_for_the_truth_alone() -> None:
    truth = torch.rand(3, 1, 64, 64)
    mode, known = torch.tensor([0, 1, 2]), torch.ones_like(truth)
    assert losses.matting_loss(truth, truth, mode, known) == 0
    assert losses.matting_loss((truth + 0.1).clamp(0, 1), truth, mode, known) > 0.05
    assert losses.matting_loss((truth + 0.1).clamp(0, 1), truth, mode, 0 * known) == 0, "what nobody knows is no error"


def test_the_band_is_the_benchmarks() -> None:
    from cutout_build.quality.metrics import edge_band

    truth = np.zeros((64, 64), np.float32)
    truth[20:40, 20:44] = 1
    truth[30:33, 30:60] = 0.5
    ours = losses.edge_band(torch.from_numpy(truth)[None, None])[0, 0].numpy() > 0
    # The metric dilates by a disc, training by the square around it.
    assert (ours | ~edge_band(truth)).all()
    assert ours.sum() < 1.3 * edge_band(truth).sum()


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::torch.jit.TracerWarning")
def test_the_export_equals_the_network(tmp_path: Path) -> None:
    import onnxruntime

    import cutout_core.no_telemetry  # noqa: F401

    torch.manual_seed(0)
    net = network.MattingNetwork()
    for module in net.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.uniform_(-0.2, 0.2)
            module.running_var.uniform_(0.5, 2)
    torch.nn.init.normal_(net.head_out.weight, std=0.05)
    net.eval()
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, (3, 3, 512, 512), dtype=np.uint8)
    mask = rng.uniform(0, 1, (3, 1, 512, 512)).astype(np.float32)
    mode = np.eye(3, dtype=np.float32)[..., None, None]
    with torch.no_grad():
        expected = net(torch.from_numpy(image).float() / 255, torch.from_numpy(mask), torch.from_numpy(mode)).numpy()
    exporting.export(net, tmp_path / "matting.onnx", "a test")
    session = onnxruntime.InferenceSession(str(tmp_path / "matting.onnx"), providers=["CPUExecutionProvider"])
    for rows in (slice(0, 3), slice(1, 2)):
        (alpha,) = session.run(["ALPHA"], {"IMAGE": image[rows], "MASK": mask[rows], "MODE": mode[rows]})
        assert np.abs(alpha - expected[rows]).max() < 1e-4
