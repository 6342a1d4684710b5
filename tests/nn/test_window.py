"""Windows of a grid: cut and put together again, and who attends to whom."""

import pytest
import torch

from lacunet.nn.window import WindowLayer, cut, together


def placeless(layer: WindowLayer) -> None:
    """Leave out the convolution that says where a place is: it reaches beyond windows."""
    for parameter in layer.position.parameters():
        torch.nn.init.zeros_(parameter)


@pytest.mark.parametrize("starts", [(0, 0, 0), (1, 1, 1), (0, 2, 1)])
@pytest.mark.parametrize("grid", [(6, 3, 9), (5, 4, 7), (1, 2, 3)])
def test_what_is_cut_can_be_put_together(grid: tuple[int, int, int], starts: tuple[int, int, int]):
    maps = torch.randn(2, 5, *grid)
    windows = cut(maps, 3, starts)
    assert windows.shape[1:] == (27, 5)
    assert torch.equal(together(windows, 3, starts, grid), maps)


def test_windows_by_hand():
    """A row of five places, windows of two; shifted ones start one place before."""
    maps = torch.arange(1.0, 6.0)[None, None, None, None]
    places = [0, 1]  # of a window's eight, those with x = y = 0
    assert cut(maps, 2, (0, 0, 0))[:, places, 0].tolist() == [[1, 2], [3, 4], [5, 0]]
    assert cut(maps, 2, (0, 0, 1))[:, places, 0].tolist() == [[0, 1], [2, 3], [4, 5]]


@pytest.mark.parametrize(("shifted", "reached"), [(False, [0, 1, 2, 3]), (True, [2, 3, 4, 5])])
def test_a_place_hears_of_its_window_alone(shifted: bool, reached: list[int]):
    """Eight places along x, windows of four. The fourth place is changed."""
    torch.manual_seed(1)
    layer = WindowLayer(8, 2, 4, shifted)
    placeless(layer)
    maps = torch.randn(1, 8, 8, 1, 1)
    changed = maps.clone()
    changed[:, :, 3] += torch.randn(1, 8, 1, 1)
    moved = (layer(changed) - layer(maps)).abs().amax((0, 1, 3, 4)) > 1e-6
    assert moved.nonzero().flatten().tolist() == reached


def test_places_outside_of_the_grid_are_no_keys():
    """A grid of a window and a half gives the same in its last window as a grid of that half alone."""
    torch.manual_seed(1)
    layer = WindowLayer(8, 2, 4, shifted=False)
    placeless(layer)
    maps = torch.randn(1, 8, 6, 4, 4)
    torch.testing.assert_close(layer(maps)[:, :, 4:], layer(maps[:, :, 4:]))
    alone = layer.layer(cut(maps[:, :, 4:], 4, (0, 0, 0))[:, :32], None)  # the window's first 32 places are in the grid
    torch.testing.assert_close(layer(maps[:, :, 4:])[0], alone[0].T.view(8, 2, 4, 4))
