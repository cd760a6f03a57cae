"""Functions and classes that are written into a source where a layer needs them."""

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
    "_max_pool": '''
def _max_pool(x, kernel, stride, padding=0, ceil_mode=False, margin=None):
    """Returns the largest values of the windows, and their places in the plane; ``margin`` pads the plane by hand."""
    padded = x if margin is None else F.pad(x, margin, value=torch.finfo(torch.float32).min)
    values, places = F.max_pool2d(
        padded, kernel, stride, padding, ceil_mode=ceil_mode, return_indices=True
    )
    if margin is not None:
        row, column = places // padded.shape[3] - margin[2], places % padded.shape[3] - margin[0]
        places = row * x.shape[3] + column
    return values, places.to(x.dtype)
''',
    "_unpool": '''
def _unpool(x, places, height, width):
    """Puts each value at its place in a plane of zeros."""
    zeros = x.new_zeros(*x.shape[:2], height * width)
    return zeros.scatter(2, places.flatten(2).long(), x.flatten(2)).unflatten(2, (height, width))
''',
    "_mvn": '''
def _mvn(x, axis=2, divides=True, eps=1e-9):
    """Takes the mean over all axes from ``axis`` on away, and divides by the deviation."""
    rows = x.reshape(*x.shape[:axis], -1)
    rows = rows - rows.mean(-1, keepdim=True)
    if divides:
        rows = rows / (rows.square().mean(-1, keepdim=True).sqrt() + eps)
    return rows.reshape(x.shape)
''',
    "_LSTM": '''
class _LSTM(nn.Module):
    """Long short-term memory over x (steps, streams, ...); a sequence begins where cont is 0."""

    def __init__(self, inputs, units, static=0):
        super().__init__()
        self.input = nn.Linear(inputs, 4 * units)
        self.hidden = nn.Linear(units, 4 * units, bias=False)
        self.static = nn.Linear(static, 4 * units, bias=False) if static else None

    def forward(self, x, cont, static=None, hidden=None, cell=None):
        units = self.hidden.in_features
        steps = self.input(x.flatten(2))
        if static is not None:
            steps = steps + self.static(static.flatten(1))
        hidden = x.new_zeros(x.shape[1], units) if hidden is None else hidden[0]
        cell = x.new_zeros(x.shape[1], units) if cell is None else cell[0]
        tops = []
        for step, kept in zip(steps, cont[..., None]):
            enter, forget, leave, new = (step + self.hidden(kept * hidden)).chunk(4, dim=1)
            cell = kept * forget.sigmoid() * cell + enter.sigmoid() * new.tanh()
            hidden = leave.sigmoid() * cell.tanh()
            tops.append(hidden)
        return torch.stack(tops), hidden[None], cell[None]
''',
    "_RNN": '''
class _RNN(nn.Module):
    """h = tanh(W x + U h), read out as tanh(V h + b); a sequence begins where cont is 0."""

    def __init__(self, inputs, units, static=0):
        super().__init__()
        self.input = nn.Linear(inputs, units)
        self.hidden = nn.Linear(units, units, bias=False)
        self.output = nn.Linear(units, units)
        self.static = nn.Linear(static, units, bias=False) if static else None

    def forward(self, x, cont, static=None, hidden=None):
        steps = self.input(x.flatten(2))
        if static is not None:
            steps = steps + self.static(static.flatten(1))
        hidden = x.new_zeros(steps.shape[1:]) if hidden is None else hidden[0]
        states = []
        for step, kept in zip(steps, cont[..., None]):
            hidden = torch.tanh(step + self.hidden(kept * hidden))
            states.append(hidden)
        return torch.tanh(self.output(torch.stack(states))), hidden[None]
''',
}
