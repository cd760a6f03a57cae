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
    "_decode": '''
def _decode(offsets, priors, code, varied=True, pixel=0.0):
    """Returns the corners of boxes from their offsets (n, boxes, k, 4) and default boxes (2, boxes, 1, 4)."""
    size = priors[0, ..., 2:] - priors[0, ..., :2] + pixel
    if varied:
        offsets = offsets * priors[1]
    if code == "CENTER_SIZE":
        middle = offsets[..., :2] * size + priors[0, ..., :2] + size / 2
        half = offsets[..., 2:].exp() * size / 2
        return torch.cat([middle - half, middle + half], -1)
    return priors[0] + (offsets if code == "CORNER" else offsets * torch.cat([size, size], -1))
''',
    "_suppress": '''
def _suppress(boxes, scores, threshold, least, top_k=None, most=None, eta=1.0, pixel=0.0):
    """Returns the places of the boxes (n, 4) that non-maximum suppression keeps, the best first."""
    places = (scores > least).nonzero().flatten()
    places = places[scores[places].sort(descending=True, stable=True).indices][:top_k]
    area = (boxes[:, 2:] - boxes[:, :2] + pixel).clamp(min=0).prod(1)
    kept = []
    for place in places.tolist():
        if len(kept) == most:
            break
        if kept:
            first = torch.maximum(boxes[place, :2], boxes[kept, :2])
            last = torch.minimum(boxes[place, 2:], boxes[kept, 2:])
            common = (last - first + pixel).clamp(min=0).prod(1)
            overlaps = torch.where(common > 0, common / (area[place] + area[kept] - common), 0)
            if not (overlaps <= threshold).all():
                continue
        kept.append(place)
        if eta < 1 and threshold > 0.5:
            threshold *= eta
    return torch.tensor(kept, dtype=torch.int64, device=boxes.device)
''',
    "_detections": '''
def _detections(
    offsets, scores, priors, classes, threshold, background, least, top_k, most, eta, pixel, code, varied, clip
):
    """Returns the boxes of all items and classes, (1, 1, boxes, 7): item, label, score and corners."""
    count = priors.shape[2] // 4
    scores = scores.reshape(len(scores), count, classes)
    priors = priors.reshape(priors.shape[1], count, 1, 4)
    boxes = _decode(offsets.reshape(len(scores), count, -1, 4), priors, code, varied, pixel)
    boxes = boxes.clamp(0, 1) if clip else boxes
    rows = []
    for item in range(len(scores)):
        found = []
        for label in range(classes):
            if label != background:
                corners = boxes[item, :, label if boxes.shape[2] > 1 else 0]
                kept = _suppress(corners, scores[item, :, label], threshold, least, top_k, most, eta, pixel)
                name = scores.new_tensor([item, label]).expand(len(kept), 2)
                found.append(torch.cat([name, scores[item, kept, label, None], corners[kept]], 1))
        found = torch.cat(found) if found else scores.new_zeros(0, 7)
        if most is not None:
            best = found[:, 2].sort(descending=True, stable=True).indices[:most]
            found = found[best.sort().values]
        rows.append(found)
    rows = torch.cat(rows)
    if not len(rows):
        rows = scores.new_full((len(scores), 7), -1)
        rows[:, 0] = torch.arange(len(scores))
    return rows[None, None]
''',
    "_proposals": '''
def _proposals(scores, offsets, image, anchors, stride, threshold, min_size, before, after):
    """Returns the regions (found, 5), item and corners, and their scores (found, 1)."""
    height, width = scores.shape[2:]
    ranks = scores[:, len(anchors):].permute(0, 2, 3, 1).flatten(1).double()
    moves = offsets.permute(0, 2, 3, 1).reshape(len(offsets), -1, 4).double()
    x, y = torch.meshgrid(torch.arange(width) * stride, torch.arange(height) * stride, indexing="xy")
    boxes = (torch.stack([x, y, x, y], -1).reshape(-1, 1, 4) + anchors).reshape(-1, 4)
    size = boxes[:, 2:] - boxes[:, :2] + 1
    middle = moves[..., :2] * size + boxes[:, :2] + size / 2
    half = moves[..., 2:].exp() * size / 2
    sizes = image.flatten(1)[:, None].double()
    ends = torch.cat([sizes[..., 1:2], sizes[..., :1]] * 2, -1) - 1
    boxes = torch.minimum(torch.cat([middle - half, middle + half], -1), ends).clamp(min=0)
    fits = (boxes[..., 2:] - boxes[..., :2] + 1 >= min_size * sizes[..., 2:3]).all(-1)
    ranks = torch.where(fits, ranks, -float("inf"))
    regions, found = [], []
    for item in range(len(boxes)):
        kept = _suppress(boxes[item], ranks[item], threshold, -float("inf"), before, after, pixel=1)
        regions.append(torch.cat([boxes.new_full((len(kept), 1), item), boxes[item, kept]], 1))
        found.append(ranks[item, kept, None])
    return torch.cat(regions).to(scores), torch.cat(found).to(scores)
''',
    "_away_from_zero": '''
def _away_from_zero(x):
    """Rounds; halves away from zero."""
    return x.sign() * (x.abs() + 0.5).floor()
''',
    "_pool_regions": '''
def _pool_regions(x, regions, height, width, scale):
    """Returns the maxima of the parts of regions, (regions, channels, height, width)."""
    regions = regions.flatten(1)
    corners = _away_from_zero(regions[:, 1:] * scale).long()
    top = x.new_zeros(len(regions), x.shape[1], height, width)
    for number, (left, above, right, below) in enumerate(corners.tolist()):
        plane = x[int(regions[number, 0])]
        sides = torch.tensor([max(below - above + 1, 1), max(right - left + 1, 1)], dtype=torch.float32)
        parts = sides / torch.tensor([height, width])
        for row in range(height):
            for column in range(width):
                place = torch.tensor([row, column])
                start = (place * parts).floor().long() + torch.tensor([above, left])
                end = ((place + 1) * parts).ceil().long() + torch.tensor([above, left])
                (y, x0), (y1, x1) = start.clamp(min=0).tolist(), end.clamp(min=0).tolist()
                part = plane[:, y:y1, x0:x1]
                if part.shape[1] and part.shape[2]:
                    top[number, :, row, column] = part.amax((1, 2))
    return top
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
