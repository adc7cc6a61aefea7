"""The options that several commands share, each written down once."""

from __future__ import annotations

import functools
import inspect
from typing import TYPE_CHECKING, Annotated, Any, TypeVar, get_type_hints

import typer

if TYPE_CHECKING:
    from collections.abc import Callable

Choice = TypeVar("Choice", bound=str)

_CHAIN = "The chain"
_NETWORK = "The network"
_SIZES = "Sizes and limits"
_STORAGE = "Object storage"
_RECOGNISER = "The recogniser"

Input = Annotated[
    str,
    typer.Argument(
        metavar="INPUT",
        help="A folder of images, a tar of images, or a folder of tars; local or s3://.",
    ),
]
Output = Annotated[
    str,
    typer.Argument(
        metavar="OUTPUT", help="The folder that holds, or will hold, the results; local or s3://."
    ),
]

Master = Annotated[
    str | None,
    typer.Option(
        "--master",
        metavar="URL",
        help="Spark master, or the name of a cluster. Default: local[*], this machine.",
        rich_help_panel=_CHAIN,
    ),
]
Environment = Annotated[
    str | None,
    typer.Option(
        "--environment",
        metavar="ARCHIVE",
        help="Made by `pomona cluster pack`, for workers that have no Pomona, or another one.",
        rich_help_panel=_CHAIN,
    ),
]
SparkConf = Annotated[
    list[str] | None,
    typer.Option(
        "--spark-conf",
        metavar="KEY=VALUE",
        help="A Spark setting; may be given more than once.",
        rich_help_panel=_CHAIN,
    ),
]
Layout = Annotated[
    str | None,
    typer.Option(
        "--layout",
        metavar="TEMPLATE",
        help="How to read label, split and group from paths, such as '{split}/{label}/{name}'; * is any folder, ** any number of them. Default: detected.",  # noqa: E501
        rich_help_panel=_CHAIN,
    ),
]
MaxRejects = Annotated[
    str | None,
    typer.Option(
        "--max-rejects",
        metavar="N|N%",
        help="Rejects that still count as success, else exit code 3. Default: 5%.",
        rich_help_panel=_CHAIN,
    ),
]
Prune = Annotated[
    bool | None,
    typer.Option(
        "--prune",
        help="Remove the rows of images that are gone from INPUT.",
        rich_help_panel=_CHAIN,
    ),
]
RetryRejects = Annotated[
    bool | None,
    typer.Option(
        "--retry-rejects",
        help="Try rejected images again, also where they have not changed.",
        rich_help_panel=_CHAIN,
    ),
]

Model = Annotated[
    str | None,
    typer.Option(
        "--model",
        metavar="NAME|FILE",
        help="A built-in network, or an ONNX file. Default: pomona-s3.",
        rich_help_panel=_NETWORK,
    ),
]
Size = Annotated[
    int | None,
    typer.Option(
        "--size",
        metavar="PX",
        help="Side of the image, for a network that takes any.",
        rich_help_panel=_NETWORK,
    ),
]
Mean = Annotated[
    str | None,
    typer.Option(
        "--mean",
        metavar="R,G,B",
        help="Subtracted from each channel (0 to 255), for float input.",
        rich_help_panel=_NETWORK,
    ),
]
Scale = Annotated[
    str | None,
    typer.Option(
        "--scale",
        metavar="R,G,B",
        help="Each channel is divided by it, for float input. Default: 255.",
        rich_help_panel=_NETWORK,
    ),
]
Precision = Annotated[
    str | None,
    typer.Option(
        "--precision",
        metavar="auto|fp32|bf16|int8",
        help="Arithmetic of the network. Default: auto.",
        rich_help_panel=_NETWORK,
    ),
]
Engine = Annotated[
    str | None,
    typer.Option(
        "--engine",
        metavar="auto|openvino|onnxruntime",
        help="What runs the network. Default: auto.",
        rich_help_panel=_NETWORK,
    ),
]

Variance = Annotated[
    float | None,
    typer.Option(
        "--variance",
        metavar="SHARE",
        help="Share of the variance to keep. Default: 0.95.",
        rich_help_panel=_CHAIN,
    ),
]
Components = Annotated[
    int | None,
    typer.Option(
        "--components",
        metavar="K",
        help="Number of components to keep; overrides --variance.",
        rich_help_panel=_CHAIN,
    ),
]

Penalty = Annotated[
    float | None,
    typer.Option(
        "--penalty",
        metavar="NUMBER",
        help="Penalty on the classifier's coefficients, above 0. Default: chosen.",
        rich_help_panel=_RECOGNISER,
    ),
]
Risk = Annotated[
    float | None,
    typer.Option(
        "--risk",
        metavar="SHARE",
        help="Share of wrong answers among the sure ones that is aimed at. Default: 0.02.",
        rich_help_panel=_RECOGNISER,
    ),
]
Refuse = Annotated[
    float | None,
    typer.Option(
        "--refuse",
        metavar="SHARE",
        help="Share of good images that may be refused as strange. Default: 0.02.",
        rich_help_panel=_RECOGNISER,
    ),
]
Fruits = Annotated[
    str | None,
    typer.Option(
        "--fruits",
        metavar="CSV",
        help="Which fruit each class is: a table with the columns class and fruit. Default: ships.",
        rich_help_panel=_RECOGNISER,
    ),
]

MaxBytes = Annotated[
    int | None,
    typer.Option(
        "--max-bytes",
        metavar="N",
        help="Larger files are rejected. Default: 67108864.",
        rich_help_panel=_SIZES,
    ),
]
MaxPixels = Annotated[
    int | None,
    typer.Option(
        "--max-pixels",
        metavar="N",
        help="Images of more pixels are rejected. Default: 50000000.",
        rich_help_panel=_SIZES,
    ),
]
TaskImages = Annotated[
    int | None,
    typer.Option(
        "--task-images",
        metavar="N",
        help="Images of a Spark task, at most. Default: chosen.",
        rich_help_panel=_SIZES,
    ),
]
TaskBytes = Annotated[
    int | None,
    typer.Option(
        "--task-bytes",
        metavar="N",
        help="Bytes of a Spark task, at most. Default: 64 MiB.",
        rich_help_panel=_SIZES,
    ),
]
ChunkTasks = Annotated[
    int | None,
    typer.Option(
        "--chunk-tasks",
        metavar="N",
        help="Tasks that are committed together. Default: chosen.",
        rich_help_panel=_SIZES,
    ),
]

EndpointUrl = Annotated[
    str | None,
    typer.Option(
        "--endpoint-url",
        metavar="URL",
        help="An S3 service that is not AWS. Default: the AWS settings.",
        rich_help_panel=_STORAGE,
    ),
]
Sse = Annotated[
    str | None,
    typer.Option(
        "--sse",
        metavar="AES256|aws:kms|aws:kms:dsse",
        help="Encryption that every write to S3 asks for. Default: the bucket's own.",
        rich_help_panel=_STORAGE,
    ),
]
KmsKey = Annotated[
    str | None,
    typer.Option(
        "--kms-key", metavar="ID", help="The KMS key for --sse.", rich_help_panel=_STORAGE
    ),
]
SoleWriter = Annotated[
    bool | None,
    typer.Option(
        "--sole-writer",
        help="Nobody else writes to OUTPUT: accept an S3 service without conditional writes.",
        rich_help_panel=_STORAGE,
    ),
]

Jobs = Annotated[
    int,
    typer.Option("--jobs", "-j", metavar="N", min=1, max=256, help="Objects at a time."),
]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object on stdout.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No progress; errors alone.")]
Verbose = Annotated[
    bool,
    typer.Option("--verbose", "-v", help="Spark logs more, and errors come with their traceback."),
]


NETWORK: dict[str, Any] = {
    "model": Model,
    "size": Size,
    "precision": Precision,
    "engine": Engine,
    "mean": Mean,
    "scale": Scale,
}
REDUCTION: dict[str, Any] = {"variance": Variance, "components": Components}
RECOGNISER: dict[str, Any] = {
    "penalty": Penalty,
    "risk": Risk,
    "refuse": Refuse,
    "fruits": Fruits,
}
IMAGES: dict[str, Any] = {
    "layout": Layout,
    "max_rejects": MaxRejects,
    "prune": Prune,
    "retry_rejects": RetryRejects,
}
SPARK: dict[str, Any] = {
    "master": Master,
    "spark_conf": SparkConf,
    "environment": Environment,
}
SIZES: dict[str, Any] = {
    "max_bytes": MaxBytes,
    "max_pixels": MaxPixels,
    "task_images": TaskImages,
    "task_bytes": TaskBytes,
    "chunk_tasks": ChunkTasks,
}
STORAGE: dict[str, Any] = {
    "endpoint_url": EndpointUrl,
    "sse": Sse,
    "kms_key": KmsKey,
    "sole_writer": SoleWriter,
}


def takes(*groups: dict[str, Any]) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Give a command the options of some groups; it receives them as ``**flags``.

    Each is None where it was not given, and has the name of the setting that it sets.
    """

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        hints = get_type_hints(command, include_extras=True)
        own = [
            p.replace(annotation=hints[p.name])
            for p in inspect.signature(command).parameters.values()
        ]
        first = [p for p in own if p.kind is p.POSITIONAL_OR_KEYWORD and p.default is p.empty]
        last = [p for p in own if p.kind is p.POSITIONAL_OR_KEYWORD and p.default is not p.empty]
        shared = {name: kind for group in groups for name, kind in group.items()}
        added = [
            inspect.Parameter(
                name, inspect.Parameter.POSITIONAL_OR_KEYWORD, default=None, annotation=kind
            )
            for name, kind in shared.items()
        ]

        @functools.wraps(command)
        def wrapper(**arguments: Any) -> None:
            command(**arguments)

        wrapper.__signature__ = inspect.Signature([*first, *added, *last])  # type: ignore[attr-defined]
        wrapper.__annotations__ = {**hints, **shared}
        del wrapper.__wrapped__
        return wrapper

    return decorate


def pairs(texts: list[str] | None, option: str = "--spark-conf") -> dict[str, str] | None:
    """``KEY=VALUE`` texts as a dictionary; None where none were given.

    Raises:
        UsageError: a text without ``=``.
    """
    if not texts:
        return None
    from pomona.errors import UsageError

    found = {}
    for text in texts:
        key, equals, value = text.partition("=")
        if not equals or not key:
            raise UsageError(
                f"{option} {text} is not KEY=VALUE.", "For instance spark.driver.memory=4g."
            )
        found[key.strip()] = value.strip()
    return found


def one_of(name: str, value: str, choices: tuple[Choice, ...]) -> Choice:
    """``value`` as one of the choices.

    Raises:
        UsageError: it is none of them.
    """
    for choice in choices:
        if value == choice:
            return choice
    from pomona.errors import UsageError

    raise UsageError(f"--{name} {value} is not known.", f"Give one of: {', '.join(choices)}.")
