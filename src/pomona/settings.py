"""The settings of a run: one frozen object, read in one place.

Order of precedence: command-line flag, then environment (``POMONA_PRECISION=fp32``), then
``pomona.toml`` in the working directory, then the default.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    field_serializer,
    field_validator,
    model_validator,
)
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)

from pomona.errors import UsageError

if TYPE_CHECKING:
    from pomona.storage.options import StorageOptions

_ENDPOINT = re.compile(r"^https?://[^/@\s]+/?$", re.IGNORECASE)
_SECRET = re.compile(r"secret|password|token|access[._]?key|credential", re.IGNORECASE)
_REDACTED = "(not shown)"

SETTINGS_FILE = "pomona.toml"

_MASTER = re.compile(
    r"(local(\[(\*|\d+)(,\s*\d+)?\])?|yarn|(spark|k8s)://.+|[a-z0-9][a-z0-9-]{0,39})\Z"
)

Triple = tuple[float, float, float]


class Quote(BaseModel):
    """What somebody was told before a run, for the ledger to compare with; JSON in the environment.

    ``pomona cloud quote`` prints one; ``pomona cloud submit`` hands it on.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    images: Annotated[int, Field(ge=0)]
    """To be embedded."""
    seconds: Annotated[float, Field(gt=0)]
    """Of the whole run."""
    eur_an_hour: Annotated[float, Field(ge=0)] = 0.0
    """That the machines cost."""


class Settings(BaseSettings):
    """What a user can choose. Every field can be given by flag, environment or file."""

    model_config = SettingsConfigDict(
        env_prefix="POMONA_", toml_file=SETTINGS_FILE, frozen=True, extra="forbid"
    )

    master: str = "local[*]"
    """Spark master; ``local[*]`` is this machine with all its cores. The command line also takes
    the name of a cluster that ``pomona cluster`` knows."""
    spark_conf: dict[str, str] = Field(default_factory=dict)
    """Further Spark settings, key to value."""
    environment: str | None = None
    """An archive of ``pomona cluster pack`` that workers without this Pomona run."""

    model: str = "pomona-s3"
    """A network of the catalogue, or the path of an ONNX file."""
    size: Annotated[int | None, Field(ge=16, le=2048)] = None
    """Side of the image in pixels, for a network that takes any size."""
    mean: Triple | None = None
    """Subtracted from each channel (0 to 255), for networks with float input."""
    scale: Triple | None = None
    """Each channel is divided by it, for networks with float input."""
    engine: Literal["auto", "openvino", "onnxruntime"] = "auto"
    """What runs the network; auto takes the faster one."""
    precision: Literal["auto", "fp32", "bf16", "int8"] = "auto"
    """Arithmetic of the network; auto takes bf16 where it is faster and close to fp32."""

    layout: str | None = None
    """Template for label, split and group in paths; detected when not given."""
    max_bytes: Annotated[int, Field(ge=1)] = 64 << 20
    """Larger files are rejected."""
    max_pixels: Annotated[int, Field(ge=1)] = 50_000_000
    """Images of more pixels are rejected."""
    max_rejects: str = "5%"
    """How many rejects still count as success: a count, or a share such as 5%."""
    prune: bool = False
    """Whether rows of images that are gone from INPUT are removed."""
    retry_rejects: bool = False
    """Whether images that were rejected before are tried again though they have not changed."""

    variance: Annotated[float, Field(gt=0, le=1)] = 0.95
    """Share of the variance that the components keep."""
    components: Annotated[int | None, Field(ge=1)] = None
    """Number of components; overrides variance."""

    penalty: Annotated[float | None, Field(gt=0, le=100)] = None
    """Of the classifier's coefficients, in standard units; None chooses."""
    risk: Annotated[float, Field(ge=0, lt=1)] = 0.02
    """Share of wrong answers among those called sure, at most, on the validation images."""
    refuse: Annotated[float, Field(gt=0, lt=1)] = 0.02
    """Share of validation images that may be refused as unlike anything trained on."""
    fruits: str | None = None
    """A CSV of class and fruit, in the place of the one that ships."""

    task_images: Annotated[int, Field(ge=0, le=8192)] = 0
    """Images of a task, at most; 0 chooses."""
    task_bytes: Annotated[int, Field(ge=0)] = 0
    """Bytes of a task, at most; 0 chooses."""
    chunk_tasks: Annotated[int, Field(ge=0)] = 0
    """Tasks that are committed together; 0 chooses."""

    quote: Quote | None = None
    """What was predicted of this run."""

    endpoint_url: str | None = None
    """Of an S3 service that is not AWS. Default: what the AWS settings say."""
    sse: Literal["AES256", "aws:kms", "aws:kms:dsse"] | None = None
    """Encryption that every write to S3 asks for. Default: the bucket's own."""
    kms_key: str | None = None
    """The KMS key for it."""
    sole_writer: bool = False
    """Whether nobody else writes to OUTPUT, so that an S3 service without conditional writes will
    do: OUTPUT is then not locked."""
    retry_seconds: Annotated[int, Field(ge=1, le=3600)] = 120
    """How long a failing request to S3 is tried again."""
    silence_seconds: Annotated[int, Field(ge=1, le=600)] = 20
    """How long an answer of S3 may stand still before it counts as failed."""

    @field_validator("mean", "scale", mode="before")
    @classmethod
    def _numbers(cls, value: Any) -> Any:
        return value.split(",") if isinstance(value, str) else value

    @field_validator("max_rejects", mode="before")
    @classmethod
    def _allowance(cls, value: Any) -> str:
        text = str(value).strip()
        parse_allowance(text)
        return text

    @field_validator("master")
    @classmethod
    def _master(cls, value: str) -> str:
        if not _MASTER.match(value):
            raise ValueError(
                "give local[*], local[4], spark://host:7077, yarn, k8s://... or a cluster's name"
            )
        return value

    @field_validator("endpoint_url")
    @classmethod
    def _endpoint(cls, value: str | None) -> str | None:
        if value is not None and not _ENDPOINT.match(value):
            raise ValueError("give https://host or http://host:port, without a user name")
        return value

    @field_serializer("spark_conf")
    def _without_secrets(self, value: dict[str, str]) -> dict[str, str]:
        return {k: _REDACTED if _SECRET.search(k) else v for k, v in value.items()}

    @model_validator(mode="after")
    def _kms_goes_with_its_key(self) -> Settings:
        if self.kms_key is not None and (self.sse or "").partition(":")[0] != "aws":
            raise ValueError("kms_key needs sse aws:kms")
        return self

    @property
    def storage(self) -> StorageOptions:
        """How S3 is spoken to."""
        from pomona.storage.options import StorageOptions

        return StorageOptions(
            endpoint_url=self.endpoint_url,
            sse=self.sse,
            kms_key=self.kms_key,
            sole_writer=self.sole_writer,
            retry_seconds=self.retry_seconds,
            silence_seconds=self.silence_seconds,
        )

    @model_validator(mode="after")
    def _layout_parses(self) -> Settings:
        if self.layout is not None:
            from pomona.images.layout import Layout

            Layout(self.layout)
        return self

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Flag, environment, file; no .env and no secrets folder."""
        return init_settings, env_settings, TomlConfigSettingsSource(settings_cls)


def load_settings(**flags: Any) -> Settings:
    """The settings of this call; flags that are None were not given.

    Raises:
        UsageError: a value is not allowed, or a name is unknown.
    """
    try:
        return Settings(**{name: value for name, value in flags.items() if value is not None})
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "settings"
        raise UsageError(
            f"{where}: {first['msg']} (given: {first.get('input')!r}).",
            f"Correct --{where.replace('_', '-')}, POMONA_{where.upper()} or {SETTINGS_FILE}.",
        ) from error
    except ValueError as error:
        raise UsageError(
            f"{SETTINGS_FILE} cannot be read: {error}.", "Mend or remove it."
        ) from error


def parse_allowance(text: str) -> tuple[int | None, float | None]:
    """Read ``--max-rejects``: ``20`` is a count, ``5%`` a share.

    Returns:
        The count, or the share from 0 to 1; the other is None.

    Raises:
        ValueError: neither.
    """
    try:
        if text.endswith("%"):
            share = float(text[:-1]) / 100
            if 0 <= share <= 1:
                return None, share
        elif int(text) >= 0:
            return int(text), None
    except ValueError:
        pass
    raise ValueError("give a count such as 20, or a share such as 5%")
