from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from demitasse.caffe.images.mean import write_mean
from demitasse.cli import main
from demitasse.pycaffe import Classifier
from demitasse.pycaffe.images import resize_image
from tests.pycaffe.images import save_image, summing_net, weighing_net

PIXELS = [np.random.default_rng(seed).integers(0, 256, (8, 8, 3)) for seed in range(3)]


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The flags that name a net; three images in the folder photos."""
    monkeypatch.chdir(tmp_path)
    Path("photos").mkdir()
    for index, pixels in enumerate(PIXELS):
        save_image(Path(f"photos/{index}.png"), pixels)
    model, weights = summing_net(tmp_path)
    return [f"--model_def={model}", f"--pretrained_model={weights}"]


def run(*arguments: str) -> int:
    with pytest.raises(SystemExit) as stop:
        main(list(arguments))
    return int(stop.value.code or 0)


def sums(pixels: np.ndarray) -> np.ndarray:
    """What the net says of the centre of 4 x 4, blue first."""
    return pixels[2:6, 2:6, ::-1].sum((0, 1))


def test_classify_a_folder(files: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    Path("labels.txt").write_bytes(b"\xef\xbb\xbfblue\r\ngreen\r\nred\r\n")
    flags = ["--images_dim=8,8", "--center_only", "--ext=png", "--labels_file=labels.txt"]
    assert run("classify", "photos", "found.npy", *files, *flags) == 0
    assert np.load("found.npy") == pytest.approx(np.array([sums(pixels) for pixels in PIXELS]), rel=1e-4)
    said = capsys.readouterr().out
    best = ["blue", "green", "red"][sums(PIXELS[0]).argmax()]
    assert said.splitlines()[1].endswith(f"  {best}")
    assert "Classified 3 images: found.npy" in said


@pytest.mark.parametrize("kind", ["npy", "binaryproto"])
def test_classify_an_array_with_a_mean(files: list[str], kind: str) -> None:
    np.save("images.npy", np.stack(PIXELS).astype(np.float32) / 255)
    mean = np.arange(3.0)[:, None, None] * np.ones((3, 4, 4))
    if kind == "npy":
        np.save("mean.npy", mean)
    else:
        write_mean("mean.binaryproto", mean.astype(np.float32))
    flags = ["--images_dim=8,8", "--center_only", f"--mean_file=mean.{kind}", "--channel_swap="]
    assert run("classify", "images.npy", "found", *files, *flags) == 0
    expected = np.array([sums(pixels)[::-1] for pixels in PIXELS]) - 16 * np.arange(3)
    assert np.load("found.npy") == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("flags", [["--center_only"], []])
def test_classify_predicts_what_a_classifier_does(files: list[str], flags: list[str]) -> None:
    """The command computes with a plan, a Classifier layer by layer."""
    np.save("images.npy", np.stack(PIXELS).astype(np.float32) / 255)
    assert run("classify", "images.npy", "found", *files, "--images_dim=8,8", *flags) == 0
    names = [flag.partition("=")[2] for flag in files]
    classifier = Classifier(*names, image_dims=(8, 8), raw_scale=255, channel_swap=(2, 1, 0))
    expected = classifier.predict(list(np.load("images.npy")), oversample=not flags)
    np.testing.assert_allclose(np.load("found.npy"), expected, rtol=1e-6)


def test_classify_computes_with_a_plan(files: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Classifier, "forward_all", lambda *arguments, **inputs: pytest.fail("layer by layer"))
    array()
    assert run("classify", "images.npy", "found", *files, "--images_dim=8,8") == 0


def array(name: str = "images.npy") -> np.ndarray:
    """Writes the images as an array of their size, and returns what the net says of their centres."""
    np.save(name, np.stack(PIXELS).astype(np.float32) / 255)
    return np.array([sums(pixels)[::-1] for pixels in PIXELS])


FLAGS = ["--images_dim=8,8", "--center_only", "--channel_swap="]


@pytest.mark.parametrize("kind", ["npy", "binaryproto"])
def test_the_mean_image_is_taken_off_place_by_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    """A net that weighs its places: the mean over places would not do."""
    monkeypatch.chdir(tmp_path)
    weight = np.random.default_rng(1).normal(size=(2, 3, 4, 4)).astype(np.float32)
    model, weights = weighing_net(tmp_path, weight)
    mean = np.random.default_rng(2).uniform(80, 160, (3, 7, 9)).astype(np.float32)
    if kind == "npy":
        np.save("mean.npy", mean)
    else:
        write_mean("mean.binaryproto", mean)
    array()
    net = [f"--model_def={model}", f"--pretrained_model={weights}"]
    assert run("classify", "images.npy", "found", *net, *FLAGS, f"--mean_file=mean.{kind}") == 0
    fitted = resize_image(mean.transpose(1, 2, 0), (4, 4)).transpose(2, 0, 1)
    crops = [pixels[2:6, 2:6].transpose(2, 0, 1) - fitted for pixels in PIXELS]
    expected = np.array([[(weight[i] * crop).sum() for i in range(2)] for crop in crops])
    assert np.load("found.npy") == pytest.approx(expected, rel=1e-4, abs=1e-2)


def test_detect_takes_the_mean_by_channel(files: list[str]) -> None:
    Path("windows.csv").write_text("filename,xmin,ymin,xmax,ymax\nphotos/1.png,2,2,6,6\n")
    mean = np.random.default_rng(2).uniform(80, 160, (3, 7, 9))
    np.save("mean.npy", mean)
    assert run("detect", "windows.csv", "found.npy", *files, "--context_pad=0", "--mean_file=mean.npy") == 0
    (found,) = np.load("found.npy")
    assert found == pytest.approx(sums(PIXELS[1]) - 16 * mean.mean((1, 2)), rel=1e-4)


@pytest.mark.parametrize("place", ["python/caffe/imagenet", "caffe/imagenet", "root/python/caffe/imagenet"])
def test_the_mean_of_ilsvrc_is_taken_where_caffe_keeps_it(
    files: list[str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    monkeypatch.setenv("CAFFE_ROOT", "root")
    path = Path(place, "ilsvrc_2012_mean.npy")
    path.parent.mkdir(parents=True)
    np.save(path, np.arange(3.0)[:, None, None] * np.ones((3, 5, 5)))
    sums_ = array()
    assert run("classify", "images.npy", "found", *files, *FLAGS) == 0
    assert np.load("found.npy") == pytest.approx(sums_ - 16 * np.arange(3), rel=1e-4)
    assert f"(mean: {path})" in capsys.readouterr().out
    assert run("classify", "images.npy", "found", *files, *FLAGS, "--mean_file=") == 0
    assert np.load("found.npy") == pytest.approx(sums_, rel=1e-4)
    assert "(no mean subtracted)" in capsys.readouterr().out


def test_detect(files: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    Path("windows.csv").write_text("filename,xmin,ymin,xmax,ymax\nphotos/1.png,2,2,6,6\nphotos/0.png,2,2,6,6\n")
    assert run("detect", "windows.csv", "found.csv", *files, "--context_pad=0") == 0
    rows = [line.split(",") for line in Path("found.csv").read_text().splitlines()]
    assert [row[0] for row in rows[1:]] == ["photos/1.png", "photos/0.png"]
    for row, pixels in zip(rows[1:], (PIXELS[1], PIXELS[0]), strict=True):
        assert [float(value) for value in row[5:]] == pytest.approx(sums(pixels).tolist(), rel=1e-4)
    assert "Processed 2 windows" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["classify", "photos", "found.npy"], 1, "photos: the folder contains no .jpg files"),
        (["classify", "photos/9.png", "found.npy"], 1, "photos/9.png: not a readable image"),
        (["classify", "net.prototxt", "found.npy"], 1, "net.prototxt: not a readable image"),
        (["classify", "photos/0.png", "found.npy", "--images_dim=8"], 2, "image_dims is [8]; expected (height, width)"),
        (["classify", "photos/0.png", "found.npy", "--images_dim=8,x"], 2, "--images_dim 8,x: expected whole numbers"),
        (["classify", "photos/0.png", "found.npy", "--mean_file=net.npy"], 1, "net.npy: cannot be read: No such file"),
        (["classify", "photos/0.png", "found.npy", "--channel_swap=1,0"], 2, "channel swap (1, 0)"),
        (["classify", "photos/0.png", "found.npy", "--labels_file=none.txt"], 1, "none.txt: cannot be read"),
        (["detect", "windows.csv", "found.csv"], 1, "windows.csv: cannot be read"),
        (["detect", "windows.csv", "found.txt"], 2, "the extension is '.txt'; expected one of .csv"),
        (["detect", "list.txt", "found.csv", "--crop_mode=selective_search"], 2, "expected list"),
    ],
)
def test_wrong_use(
    files: list[str], capsys: pytest.CaptureFixture[str], arguments: list[str], code: int, message: str
) -> None:
    assert run(*arguments, *files) == code
    assert message in capsys.readouterr().err
    assert not Path("found.npy").exists()


def test_python_layers_of_strangers_do_not_run(files: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    Path("evil.py").write_text("open('ran', 'w')")
    text = Path("net.prototxt").read_text()
    Path("net.prototxt").write_text(
        text + 'layer { name: "evil" type: "Python" bottom: "ip" top: "e" python_param { module: "evil" layer: "E" } }'
    )
    assert run("classify", "photos/0.png", "found.npy", *files) == 1
    assert "--allow-python-layers" in capsys.readouterr().err
    assert not Path("ran").exists()


@pytest.mark.parametrize("command", ["classify", "detect"])
def test_a_strangers_net_writes_no_file_of_its_own(files: list[str], command: str) -> None:
    with Path("net.prototxt").open("a", encoding="utf-8") as model:
        model.write('layer { name: "out" type: "HDF5Output" bottom: "data" bottom: "data" ')
        model.write('hdf5_output_param { file_name: "stray" } }')
    Path("windows.csv").write_text("filename,xmin,ymin,xmax,ymax\nphotos/0.png,0,0,8,8\n", encoding="utf-8")
    source = {"classify": ["photos/0.png"], "detect": ["windows.csv", "--context_pad=0"]}[command]
    assert run(command, *source, "found.npy", *files) == 0
    assert Path("found.npy").is_file()
    assert not Path("stray").exists()


@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize("name", ["mean.npy", "mean.binaryproto"])
def test_a_mean_that_is_not_finite_is_refused(
    files: list[str], capsys: pytest.CaptureFixture[str], name: str, value: float
) -> None:
    mean = np.full((3, 4, 4), value, np.float32)
    np.save(name, mean) if name.endswith("npy") else write_mean(name, mean)
    assert run("classify", "photos", "out.npy", "--ext=png", f"--mean_file={name}", *files) == 1
    assert f"{name}: the mean contains a value that is not a finite number" in capsys.readouterr().err
    assert not Path("out.npy").exists()
