"""Makes the pictures the network learns from, and asks the teacher about each of them.

    python training/views.py --data ../shared/data --output views-1 --manner first --seed 20
    python training/views.py --data ../shared/data --output views-2 --manner second --seed 21 \\
        --like views-1

A *view* is one changed copy of a photograph: cropped, or, for the fruits that were filmed on
white, cut out and put on a white, plain or photographed background, alone, in part, or in a pile
as in a shop. The teacher (MobileNetV2 with ImageNet weights, OpenVINO) comments on every view at
160 pixels and its 1,280 features are stored with it: they are the target of the distillation, and
all that the network ever gets from the teacher. Made beforehand because the teacher costs as much
as a step of training: each view is then shown many times.

Views are drawn in one of two manners, for the two stages of the training. In the second the
teacher sees a view before the camera spoils it, there are more piles, more copies, and some of
the varieties in colours that do not exist.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import openvino
import simplejpeg
from PIL import Image, ImageFilter

from cutouts import cutouts
from sources import Source, read_sources
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


@dataclass(frozen=True)
class Manner:
    """How views are drawn.

    Attributes:
        studio: share of the cut-out fruits that go back on white.
        alone: share of them that lie alone on a background.
        few: share of them among a few others; the rest lie in a pile.
        copies: views of a photograph, by data set: of fruit, and of anything else.
        recoloured: how many of the copies of a variety have their colours turned. They keep the
            name of their kind (an apple is an apple in any colour) and lose that of the variety.
        spoilt: whether the teacher sees what the network sees. If not, it comments on the view
            before light, blur, noise and JPEG, which the network must learn to see through.
    """

    studio: float
    alone: float
    few: float
    copies: dict[str, tuple[int, int]]
    recoloured: int
    spoilt: bool


MANNERS = {
    "first": Manner(
        studio=0.35,
        alone=0.3,
        few=0.1,
        copies={"fruits360": (1, 0), "varieties": (2, 0), "grocery": (12, 6), "tiny": (4, 2)},
        recoloured=0,
        spoilt=True,
    ),
    "second": Manner(
        studio=0.3,
        alone=0.25,
        few=0.1,
        copies={"fruits360": (2, 0), "varieties": (3, 0), "grocery": (24, 12), "tiny": (4, 2)},
        recoloured=1,
        spoilt=False,
    ),
}


class Line(NamedTuple):
    """A view to be drawn: number of the source, index of the photograph, colours turned or not."""

    source: int
    index: int
    recoloured: bool


def planned(sources: list[Source], manner: Manner) -> list[Line]:
    """All views: more of a photograph where there are few photographs of that sort."""
    lines = []
    for number, source in enumerate(sources):
        of_fruit, of_others = manner.copies[source.name]
        recoloured = manner.recoloured if source.name == "varieties" else 0
        for index, training in enumerate(source.training):
            count = (of_fruit if source.fruit[index] else of_others) if training else 0
            lines += [Line(number, index, copy < recoloured) for copy in range(count)]
    return lines


class Painter:
    """Draws views.

    Args:
        sources: the photographs; only those marked for training are drawn.
        manner: how.
    """

    def __init__(self, sources: list[Source], manner: Manner) -> None:
        self._sources = sources
        self._manner = manner
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

    def view(self, line: Line, random: Generator) -> tuple[Pixels, Pixels]:
        """Two pictures uint8 [160, 160, 3]: what the network sees, and what the teacher sees."""
        number, index, recoloured = line
        if number in self._cutouts:
            picture = self._staged(number, index, random)
        else:
            least = 0.35 if self._sources[number].name == "grocery" else 0.5
            picture = _cropped(self._sources[number].images[index], random, least)
        if recoloured:
            picture = _recoloured(picture, random)
        spoilt = _photographed(picture, random)
        return spoilt, spoilt if self._manner.spoilt else np.asarray(picture)

    def _staged(self, number: int, index: int, random: Generator) -> Image.Image:
        """A cut-out fruit on a background."""
        scene, manner = random.random(), self._manner
        if scene < manner.studio:
            return self._studio(number, index, random)
        canvas = self._background(random)
        alike = self._alike[number, self._sources[number].fine[index]]
        if scene < manner.studio + manner.alone:
            self._paste(canvas, number, index, random.uniform(0.45, 1.05), random, spread=0.25)
            return canvas
        if scene < manner.studio + manner.alone + manner.few:
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


def _recoloured(picture: Image.Image, random: Generator) -> Image.Image:
    """Hues turned about the axis of greys by up to 60 degrees either way, more or less vivid."""
    angle, vivid = np.radians(random.uniform(-60.0, 60.0)), random.uniform(0.6, 1.3)
    grey = np.full((3, 3), 1.0 / 3.0)
    cross = np.array([[0.0, -1.0, 1.0], [1.0, 0.0, -1.0], [-1.0, 1.0, 0.0]]) / np.sqrt(3.0)
    turn = grey + vivid * (np.cos(angle) * (np.eye(3) - grey) + np.sin(angle) * cross)
    pixels = np.asarray(picture).astype(np.float32) @ turn.T.astype(np.float32)
    return Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8))


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


class Basis(NamedTuple):
    """What turns the teacher's features into what is taught: (features - mean) @ axes."""

    mean: Floats
    axes: Floats

    def components(self, features: NDArray[np.float16]) -> NDArray[np.float16]:
        """float16 [n, 256]."""
        parts = [
            ((features[start : start + 4096].astype(np.float32) - self.mean) @ self.axes)
            for start in range(0, len(features), 4096)
        ]
        return np.concatenate(parts).astype(np.float16)


def basis(features: NDArray[np.float16]) -> Basis:
    """The first principal components, half whitened, of unit variance on average.

    Half whitened (each divided by the root of its standard deviation): the large ones still
    count more, and the small ones are not lost.
    """
    sample = features[:: max(1, len(features) // 20000)].astype(np.float32)
    mean = sample.mean(0)
    values, vectors = np.linalg.eigh(np.cov(sample - mean, rowvar=False))
    values, vectors = np.maximum(values[::-1][:COMPONENTS], 1e-6), vectors[:, ::-1][:, :COMPONENTS]
    scaled = vectors / values**0.25
    return Basis(mean, (scaled / np.sqrt((values**0.5).mean())).astype(np.float32))


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description="Make the views and ask the teacher.")
    parser.add_argument("--data", type=Path, required=True, help="folder of the four tars")
    parser.add_argument("--output", type=Path, required=True, help="folder to write to")
    parser.add_argument("--manner", choices=sorted(MANNERS), default="first")
    parser.add_argument("--seed", type=int, default=20)
    parser.add_argument("--like", type=Path, help="views whose components are to be taught")
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--limit", type=int, default=0, help="stop after so many views, for trying")
    options = parser.parse_args()
    sources = read_sources(options.data)
    lines = planned(sources, MANNERS[options.manner])
    # Shuffled, so that neighbours in a batch of the teacher or on disk have nothing in common.
    order = np.random.default_rng(options.seed).permutation(len(lines))
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
    finish(options.output, options.like or options.output, sources)


def finish(output: Path, like: Path, sources: list[Source]) -> None:
    """Writes what training reads besides the pictures: components and validation photographs."""
    own = basis(np.load(like / "teacher.npy", mmap_mode="r"))
    answers = np.load(output / "teacher.npy", mmap_mode="r")
    np.save(output / "components.npy", own.components(answers))
    for name, (images, kinds) in held_out(sources).items():
        np.savez(output / f"held-out-{name}.npz", images=images, kinds=kinds)


def write_table(output: Path, sources: list[Source], lines: list[Line]) -> None:
    """``views.json``: source, kind and fine label of every view."""
    table = {
        "sources": [source.name for source in sources],
        "source": [line.source for line in lines],
        "kind": [sources[line.source].kinds[line.index] for line in lines],
        "fine": [
            None if line.recoloured else sources[line.source].fine[line.index] for line in lines
        ],
    }
    (output / "views.json").write_text(json.dumps(table))


def fill(
    options: argparse.Namespace,
    lines: list[Line],
    sources: list[Source],
    starts: list[int],
) -> None:
    """Draws the chunks that begin at ``starts`` and writes them in their place."""
    painter = Painter(sources, MANNERS[options.manner])
    ask = teacher(options.data / "mobilenet_v2_imagenet.onnx", TEACHER_SIZE)
    images = np.load(options.output / "images.npy", "r+")
    answers = np.load(options.output / "teacher.npy", "r+")
    began = time.monotonic()
    for count, start in enumerate(starts, 1):
        chunk = range(start, min(start + CHUNK, len(lines)))
        pairs = [painter.view(lines[i], np.random.default_rng([options.seed, i])) for i in chunk]
        answers[start : chunk.stop] = ask(np.stack([seen for _, seen in pairs]))
        for i, (view, _) in zip(chunk, pairs, strict=True):
            small = Image.fromarray(view).resize((SIZE, SIZE), Image.Resampling.BOX)
            images[i] = np.asarray(small)
        if count % 50 == 0:
            print(
                f"{count * CHUNK} of {len(starts) * CHUNK} views, {time.monotonic() - began:.0f} s",
                flush=True,
            )


if __name__ == "__main__":
    main()
