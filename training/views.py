"""Makes the pictures the network learns from, and asks the teacher about each of them.

    python training/views.py --data ../shared/data --output views

A *view* is one changed copy of a photograph: cropped, or, for the fruits that were filmed on
white, cut out and put on a white, plain or photographed background, alone, in part, or in a pile
as in a shop. The teacher (MobileNetV2 with ImageNet weights, OpenVINO) sees every view at 160
pixels and its 1,280 features are stored with it: they are the target of the distillation, and all
that the network ever gets from the teacher. Made beforehand because the teacher costs as much as
a step of training: each view is then shown many times.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import openvino
import simplejpeg
from PIL import Image, ImageFilter

from cutouts import cutouts
from sources import SEED, Source, read_sources
from taxonomy import NOT_FRUIT
from validation import held_out

if TYPE_CHECKING:
    from numpy.random import Generator
    from numpy.typing import NDArray

    from data import Pixels
    from engines import Floats

SIZE = 112
"""Side of a stored view; training crops from it."""
TEACHER_SIZE = 160
TEACHER_DIMENSION = 1280
COMPONENTS = 256
"""Principal components of the teacher's features that are taught."""
CHUNK = 64


def copies(source: Source, index: int) -> int:
    """How many views a photograph gets: more where there are few photographs of that sort."""
    if not source.training[index]:
        return 0
    kind = source.kinds[index]
    if source.name == "grocery":
        return 12 if source.fruit[index] else 6
    if source.name == "tiny":
        return 2 if kind in (NOT_FRUIT, None) else 4
    return 2 if source.name == "varieties" else 1


class Painter:
    """Draws views.

    Args:
        sources: the photographs; only those marked for training are drawn.
    """

    def __init__(self, sources: list[Source]) -> None:
        self._sources = sources
        self._cutouts: dict[int, list[Pixels]] = {}
        self._alike: dict[tuple[int, str], list[int]] = {}
        for number, source in enumerate(sources):
            for index, fine in enumerate(source.fine):
                if source.training[index]:
                    self._alike.setdefault((number, fine), []).append(index)
            if source.name in ("fruits360", "varieties"):
                self._cutouts[number] = cutouts(source.images)
        tiny = next(source for source in sources if source.name == "tiny")
        self._backgrounds = [
            image
            for image, kind, training in zip(tiny.images, tiny.kinds, tiny.training, strict=True)
            if training and kind == NOT_FRUIT
        ]

    def view(self, number: int, index: int, random: Generator) -> Pixels:
        """uint8 [160, 160, 3]: a view of photograph ``index`` of source ``number``."""
        if number in self._cutouts:
            picture = self._staged(number, index, random)
        else:
            least = 0.35 if self._sources[number].name == "grocery" else 0.5
            picture = _cropped(self._sources[number].images[index], random, least)
        return _photographed(picture, random)

    def _staged(self, number: int, index: int, random: Generator) -> Image.Image:
        """A cut-out fruit on a background."""
        scene = random.random()
        if scene < 0.35:
            return self._studio(number, index, random)
        canvas = self._background(random)
        alike = self._alike[number, self._sources[number].fine[index]]
        if scene < 0.65:
            self._paste(canvas, number, index, random.uniform(0.45, 1.05), random, spread=0.25)
            return canvas
        if scene < 0.75:
            for _ in range(random.integers(2, 5)):
                other = int(random.choice(alike))
                self._paste(canvas, number, other, random.uniform(0.35, 0.6), random, spread=0.6)
            self._paste(canvas, number, index, random.uniform(0.4, 0.7), random, spread=0.4)
            return canvas
        # A pile, as in a shop: fruits of about one size fill most of the picture.
        size = random.uniform(0.25, 0.6)
        for _ in range(int(min(24, 2.5 / size**2))):
            other = int(random.choice(alike))
            self._paste(canvas, number, other, size * random.uniform(0.9, 1.1), random, spread=1.0)
        self._paste(canvas, number, index, size, random, spread=0.5)
        return canvas

    def _studio(self, number: int, index: int, random: Generator) -> Image.Image:
        canvas = Image.new("RGB", (TEACHER_SIZE, TEACHER_SIZE), (255, 255, 255))
        size = random.uniform(0.8, 1.1)
        self._paste(canvas, number, index, size, random, spread=0.08, turn=25.0, level=1.0)
        return canvas

    def _background(self, random: Generator) -> Image.Image:
        if random.random() < 0.25:
            grain = int(random.choice([1, 2, 5, 13]))
            colours = random.integers(0, 256, (grain, grain, 3), dtype=np.uint8)
            small = Image.fromarray(colours)
            return small.resize((TEACHER_SIZE, TEACHER_SIZE), Image.Resampling.BICUBIC)
        photograph = self._backgrounds[int(random.integers(len(self._backgrounds)))]
        return _cropped(photograph, random, 0.3)

    def _paste(
        self,
        canvas: Image.Image,
        number: int,
        index: int,
        size: float,
        random: Generator,
        *,
        spread: float,
        turn: float = 180.0,
        level: float | None = None,
    ) -> None:
        """Puts a cut-out onto the canvas, ``size`` of it wide and ``spread`` off its centre."""
        fruit = Image.fromarray(self._cutouts[number][index], "RGBA")
        if random.random() < 0.5:
            fruit = fruit.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
        side = max(8, round(size * TEACHER_SIZE))
        high = max(8, round(side * random.uniform(0.9, 1.1)))
        fruit = fruit.resize((side, high), Image.Resampling.BILINEAR)
        angle = random.uniform(-turn, turn)
        fruit = fruit.rotate(angle, Image.Resampling.BILINEAR, expand=True)
        level = random.uniform(0.75, 1.15) if level is None else level
        if level != 1.0:
            shade = np.asarray(fruit).astype(np.float32)
            shade[..., :3] *= level
            fruit = Image.fromarray(np.clip(shade, 0, 255).astype(np.uint8), "RGBA")
        offset = random.uniform(-spread, spread, 2) * 0.5 * TEACHER_SIZE
        left = round((TEACHER_SIZE - fruit.width) / 2 + offset[0])
        top = round((TEACHER_SIZE - fruit.height) / 2 + offset[1])
        if random.random() < 0.5 and spread > 0.1:
            shadow = fruit.getchannel("A").filter(ImageFilter.BoxBlur(4)).point(lambda a: a * 0.5)
            black = Image.new("RGB", fruit.size)
            canvas.paste(black, (left + 3, top + 4), shadow)
        canvas.paste(fruit, (left, top), fruit)


def _cropped(image: Pixels, random: Generator, least: float) -> Image.Image:
    """A random part, at least ``least`` of the area, stretched to a square, at times mirrored."""
    height, width = image.shape[:2]
    area = height * width * random.uniform(least, 1.0)
    ratio = np.exp(random.uniform(np.log(3 / 4), np.log(4 / 3)))
    w, h = min(width, np.sqrt(area * ratio)), min(height, np.sqrt(area / ratio))
    left, top = random.uniform(0, width - w), random.uniform(0, height - h)
    picture = Image.fromarray(image)
    if random.random() < 0.5:
        picture = picture.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    side = (TEACHER_SIZE, TEACHER_SIZE)
    return picture.resize(side, Image.Resampling.BICUBIC, (left, top, left + w, top + h))


def _photographed(picture: Image.Image, random: Generator) -> Pixels:
    """What a camera makes of it: light, white balance, focus, noise, JPEG."""
    if random.random() < 0.35:
        # As coarse as Tiny ImageNet, or coarseness alone would say "not fruit".
        coarse = int(random.integers(48, 96))
        picture = picture.resize((coarse, coarse), Image.Resampling.BOX)
        picture = picture.resize((TEACHER_SIZE, TEACHER_SIZE), Image.Resampling.BICUBIC)
    if random.random() < 0.2:
        picture = picture.filter(ImageFilter.GaussianBlur(random.uniform(0.4, 2.0)))
    pixels = np.asarray(picture).astype(np.float32)
    if random.random() < 0.8:
        middle = pixels.mean()
        contrast, gain = random.uniform(0.8, 1.2), random.uniform(0.7, 1.25)
        balance = (gain * random.uniform(0.93, 1.07, 3)).astype(np.float32)
        pixels = (middle + contrast * (pixels - middle)) * balance
    if random.random() < 0.3:
        # Light from one side.
        slope = random.uniform(-0.35, 0.35, 2)
        ramp = np.linspace(-1, 1, TEACHER_SIZE, dtype=np.float32)
        light = 1.0 + slope[0] * ramp[:, None] + slope[1] * ramp[None, :]
        pixels = pixels * light[..., None].astype(np.float32)
    if random.random() < 0.2:
        noise = random.standard_normal(pixels.shape, dtype=np.float32)
        pixels = pixels + random.uniform(2, 10) * noise
    final = np.ascontiguousarray(np.clip(pixels, 0, 255).astype(np.uint8))
    if random.random() < 0.4:
        final = simplejpeg.decode_jpeg(
            simplejpeg.encode_jpeg(final, quality=int(random.integers(30, 95)))
        )
    return final


def teacher(path: Path, size: int) -> Any:
    """The teacher as a function from uint8 [n, size, size, 3] to float32 [n, 1280]."""
    settings = {"INFERENCE_NUM_THREADS": 1, "NUM_STREAMS": 1, "INFERENCE_PRECISION_HINT": "bf16"}
    core = openvino.Core()
    model = core.read_model(path)
    model.reshape({"image": [-1, size, size, 3]})
    request = core.compile_model(model, "CPU", settings).create_infer_request()

    def features(images: Pixels) -> Floats:
        result: Floats = request.infer([images])["features"].copy()
        return result

    return features


def components(features: NDArray[np.float16]) -> NDArray[np.float16]:
    """The first principal components, half whitened, of unit variance on average.

    Half whitened (each divided by the root of its standard deviation): the large ones still
    count more, and the small ones are not lost.
    """
    sample = features[:: max(1, len(features) // 20000)].astype(np.float32)
    mean = sample.mean(0)
    values, vectors = np.linalg.eigh(np.cov(sample - mean, rowvar=False))
    values, vectors = np.maximum(values[::-1][:COMPONENTS], 1e-6), vectors[:, ::-1][:, :COMPONENTS]
    scaled = vectors / values**0.25
    scaled = (scaled / np.sqrt((values**0.5).mean())).astype(np.float32)
    parts = [
        ((features[start : start + 4096].astype(np.float32) - mean) @ scaled).astype(np.float16)
        for start in range(0, len(features), 4096)
    ]
    return np.concatenate(parts)


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description="Make the views and ask the teacher.")
    parser.add_argument("--data", type=Path, required=True, help="folder of the four tars")
    parser.add_argument("--output", type=Path, required=True, help="folder to write to")
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--limit", type=int, default=0, help="stop after so many views, for trying")
    options = parser.parse_args()
    sources = read_sources(options.data)
    lines = [
        (number, index)
        for number, source in enumerate(sources)
        for index in range(len(source.images))
        for _ in range(copies(source, index))
    ]
    # Shuffled, so that neighbours in a batch of the teacher or on disk have nothing in common.
    order = np.random.default_rng(SEED).permutation(len(lines))
    lines = [lines[position] for position in order]
    if options.limit:
        lines = lines[: options.limit]
    options.output.mkdir(parents=True, exist_ok=True)
    write_table(options.output, sources, lines)
    for name, shape, dtype in (
        ("images", (len(lines), SIZE, SIZE, 3), np.uint8),
        ("teacher", (len(lines), TEACHER_DIMENSION), np.float16),
    ):
        np.lib.format.open_memmap(options.output / f"{name}.npy", "w+", dtype, shape).flush()
    starts = range(0, len(lines), CHUNK)
    shares = [list(starts)[share :: options.processes] for share in range(options.processes)]
    jobs = [
        multiprocessing.get_context("fork").Process(target=fill, args=(options, lines, sources, s))
        for s in shares
    ]
    for job in jobs:
        job.start()
    for job in jobs:
        job.join()
        if job.exitcode:
            raise SystemExit(job.exitcode)
    finish(options.output, sources)


def finish(output: Path, sources: list[Source]) -> None:
    """Writes what training reads besides the pictures: components and validation photographs."""
    answers = np.load(output / "teacher.npy", mmap_mode="r")
    np.save(output / "components.npy", components(answers))
    for name, (images, kinds) in held_out(sources).items():
        np.savez(output / f"held-out-{name}.npz", images=images, kinds=kinds)


def write_table(output: Path, sources: list[Source], lines: list[tuple[int, int]]) -> None:
    """``views.json``: source, kind and fine label of every view."""
    table = {
        "sources": [source.name for source in sources],
        "source": [number for number, _ in lines],
        "kind": [sources[number].kinds[index] for number, index in lines],
        "fine": [sources[number].fine[index] for number, index in lines],
    }
    (output / "views.json").write_text(json.dumps(table))


def fill(
    options: argparse.Namespace,
    lines: list[tuple[int, int]],
    sources: list[Source],
    starts: list[int],
) -> None:
    """Draws the chunks that begin at ``starts`` and writes them in their place."""
    painter = Painter(sources)
    ask = teacher(options.data / "mobilenet_v2_imagenet.onnx", TEACHER_SIZE)
    images = np.load(options.output / "images.npy", "r+")
    answers = np.load(options.output / "teacher.npy", "r+")
    began = time.monotonic()
    for count, start in enumerate(starts, 1):
        chunk = range(start, min(start + CHUNK, len(lines)))
        views = np.stack([painter.view(*lines[i], np.random.default_rng([SEED, i])) for i in chunk])
        answers[start : chunk.stop] = ask(views)
        for i, view in zip(chunk, views, strict=True):
            small = Image.fromarray(view).resize((SIZE, SIZE), Image.Resampling.BOX)
            images[i] = np.asarray(small)
        if count % 50 == 0:
            print(
                f"{count * CHUNK} of {len(starts) * CHUNK} views, {time.monotonic() - began:.0f} s",
                flush=True,
            )


if __name__ == "__main__":
    main()
