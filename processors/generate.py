"""Made-up flowfiles, for load tests, demonstrations and as a clock that starts a flow."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Final

from pydantic import field_validator, model_validator

from processors.character_set import CharacterSet
from runtime.flowfile import FlowFile
from runtime.processor import Effects, Example, Input, Processor, Relationship
from runtime.properties import Choice, DynamicProperties, Expression, Property
from runtime.session import Session
from runtime.units import parse_size

CHUNK_BYTES: Final = 1 << 20
"""Larger contents are made and written in pieces of this size."""

TEXT: Final = (
    b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ1234567890"
    b"!@#$%^&*()-_=+/?.,';:\"?<>\n\t "
)
# A table makes text of random bytes at the speed of `bytes.translate`.
TO_TEXT: Final = bytes(TEXT[byte % len(TEXT)] for byte in range(256))


class DataFormat(Choice):
    """What random contents consist of."""

    BINARY = "Binary"
    TEXT = "Text"


class GenerateFlowFile(Processor):
    """Create flowfiles with random data or a text of your own."""

    class Properties(DynamicProperties[Expression]):
        file_size: Expression = Property(
            "0B", description="How large each flowfile is. Ignored where Custom Text is set."
        )
        batch_size: int = Property(1, ge=1, description="How many flowfiles each run creates.")
        data_format: DataFormat = Property(
            DataFormat.TEXT, description="Whether random data is text or binary."
        )
        unique_flowfiles: bool = Property(
            False,
            name="Unique FlowFiles",
            description="Whether each flowfile gets data of its own. Otherwise one random content "
            "is drawn at start and all flowfiles share it, which is faster.",
        )
        custom_text: Expression | None = Property(
            None,
            formerly=("generate-ff-custom-text",),
            description="The content of the flowfiles. Evaluated once a run; needs the data "
            "format Text, and Unique FlowFiles false.",
        )
        character_set: CharacterSet = Property(
            "UTF-8",
            formerly=("character-set",),
            description="The encoding in which Custom Text becomes bytes.",
        )
        mime_type: str | None = Property(
            None,
            formerly=("mime-type",),
            min_length=1,
            description="The value of the attribute mime.type.",
        )

        @field_validator("file_size")
        @classmethod
        def _is_size(cls, value: Expression) -> Expression:
            if value.is_constant:
                parse_size(value.text)
            return value

        @model_validator(mode="after")
        def _fits(self) -> GenerateFlowFile.Properties:
            is_text = self.data_format is DataFormat.TEXT
            if self.custom_text is not None and (self.unique_flowfiles or not is_text):
                raise ValueError(
                    "property 'Custom Text' is set; it needs Data Format 'Text' and "
                    "Unique FlowFiles 'false'"
                )
            return self

    input = Input.FORBIDDEN
    effects = Effects.READS_OUTSIDE
    default_period = "1 min"
    tags = ("test", "random", "generate", "load", "source")
    writes = {
        "mime.type": "The Mime Type property, where it is set.",
        "your properties": "Each property that you add becomes an attribute; evaluated once a run.",
    }
    success = Relationship("The flowfiles that were created.")
    example = Example(
        "A greeting every minute",
        properties={"Custom Text": "Hello", "Mime Type": "text/plain", "language": "en"},
        expect_attributes={"mime.type": "text/plain", "language": "en"},
        expect_content=b"Hello",
    )

    properties: Properties

    def start(self) -> None:
        self.seed = random.getrandbits(64)

    def on_trigger(self, session: Session) -> None:
        properties = self.properties
        attributes = {
            name: value.evaluate() for name, value in properties.dynamic.items()
        }
        if properties.mime_type:
            attributes["mime.type"] = properties.mime_type
        if properties.custom_text is not None:
            text = properties.custom_text.evaluate()
            self._create_alike(session, attributes, text.encode(properties.character_set))
            return
        size = parse_size(properties.file_size.evaluate())
        if size <= CHUNK_BYTES and not properties.unique_flowfiles:
            self._create_alike(session, attributes, b"".join(self._random(self.seed, size)))
            return
        for _ in range(properties.batch_size):
            seed = random.getrandbits(64) if properties.unique_flowfiles else self.seed
            self._create_streamed(session, attributes, self._random(seed, size))

    def _create_alike(self, session: Session, attributes: dict[str, str], content: bytes) -> None:
        create = session.create
        count = self.properties.batch_size
        session.transfer([create(attributes, content) for _ in range(count)], self.success)

    def _create_streamed(
        self, session: Session, attributes: dict[str, str], chunks: Iterator[bytes]
    ) -> None:
        flowfile: FlowFile = session.create(attributes)
        with session.open_write(flowfile) as target:
            for chunk in chunks:
                target.write(chunk)
        session.transfer(target.flowfile, self.success)

    def _random(self, seed: int, size: int) -> Iterator[bytes]:
        # A seed, not the data, is kept: the same content can be drawn again at any size.
        source = random.Random(seed)
        is_text = self.properties.data_format is DataFormat.TEXT
        while size > 0:
            chunk = source.randbytes(min(size, CHUNK_BYTES))
            size -= len(chunk)
            yield chunk.translate(TO_TEXT) if is_text else chunk
