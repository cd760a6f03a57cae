"""Functions that a source gets where a layer asks for them: name -> text."""

from __future__ import annotations

HELPERS = {
    "_rank": '''
def _rank(x, axis, count):
    """Returns the largest values and their places; of equal ones the last comes first."""
    ranked = x.flip(axis).sort(dim=axis, descending=True, stable=True)
    places = x.shape[axis] - 1 - ranked.indices.narrow(axis, 0, count)
    return ranked.values.narrow(axis, 0, count), places.to(x.dtype)
''',
    "_rank_items": '''
def _rank_items(x, count, scores=False, ones=0):
    """Returns the places of the largest values of each item, and the values behind them."""
    values, places = _rank(x.flatten(1), 1, count)
    ranked = torch.stack((places, values), 1) if scores else places[:, None]
    return ranked.reshape(*ranked.shape, *[1] * ones)
''',
}
