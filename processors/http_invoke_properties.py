"""What can be configured of InvokeHTTP."""

from __future__ import annotations

from typing import Final

from pydantic import ValidationInfo, field_validator, model_validator
from yarl import URL

from processors.http_handle import check_header_name
from processors.http_redact import redact_url
from runtime.properties import (
    Choice,
    Duration,
    DynamicProperties,
    Expression,
    Pattern,
    Property,
)

REDIRECTS_MAX: Final = 20
FORM_PREFIX: Final = "post:form:"


class Encoding(Choice):
    """How a request's body is encoded."""

    DISABLED = "DISABLED", "Not encoded"
    GZIP = "GZIP", "gzip"


class Cookies(Choice):
    """What becomes of the cookies of answers."""

    DISABLED = "DISABLED", "Ignore them"
    ACCEPT_ALL = "ACCEPT_ALL", "Keep them and send them back"


class Naming(Choice):
    """Where the file name of an answer comes from."""

    RANDOM = "RANDOM", "As the request's flowfile, or random"
    URL_PATH = "URL_PATH", "Last part of the URL's path"


class InvokeProperties(DynamicProperties[Expression]):
    """What to request, and what to make of the answer. Other properties are headers."""

    # Whether a body is sent depends on a method that an expression may choose, so what concerns
    # bodies applies always here, unlike in NiFi.
    method: Expression = Property(
        "GET",
        name="HTTP Method",
        description="The method. POST, PUT and PATCH have a body, others have none.",
    )
    url: Expression = Property(
        name="HTTP URL",
        description="The whole URL, encoded as it should be sent.",
        formerly=("Remote URL",),
    )
    connect_timeout: Duration = Property(
        5.0, name="Connection Timeout", description="How long connecting may take.", gt=0
    )
    read_timeout: Duration = Property(
        15.0,
        name="Socket Read Timeout",
        description="How long the server may send nothing.",
        formerly=("Read Timeout",),
        gt=0,
    )
    write_timeout: Duration = Property(
        15.0,
        name="Socket Write Timeout",
        description="How long the server may take nothing of a body.",
        gt=0,
    )
    idle_timeout: Duration = Property(
        300.0,
        name="Socket Idle Timeout",
        description="How long a connection stays open unused.",
        formerly=("idle-timeout",),
        gt=0,
    )
    idle_connections: int = Property(
        5,
        name="Socket Idle Connections",
        description="How many connections to one server are used at the same time, and stay open.",
        formerly=("max-idle-connections",),
        ge=1,
    )
    username: str | None = Property(
        None,
        name="Request Username",
        description="The user, for basic or digest authentication.",
        formerly=("Basic Authentication Username",),
        pattern=r"^[^:\x00-\x1f\x7f]+$",
    )
    password: str | None = Property(
        None,
        name="Request Password",
        description="The user's password.",
        formerly=("Basic Authentication Password",),
        sensitive=True,
    )
    digest: bool = Property(
        False,
        name="Request Digest Authentication Enabled",
        description="Authenticate by digest.",
        formerly=("Digest Authentication",),
    )
    penalize: bool = Property(
        False,
        name="Request Failure Penalization Enabled",
        description="Penalize flowfiles on their way to No Retry.",
        formerly=('Penalize on "No Retry"',),
    )
    sends_body: bool = Property(
        True,
        name="Request Body Enabled",
        description="Send the content as the body of POST, PUT and PATCH.",
        formerly=("send-message-body",),
    )
    form_name: Expression | None = Property(
        None,
        name="Request Multipart Form-Data Name",
        description="Send the content as the field of this name of a multipart form.",
        formerly=("form-body-form-name",),
    )
    form_filename: bool = Property(
        True,
        name="Request Multipart Form-Data Filename Enabled",
        description="Name the file in the form.",
        formerly=("set-form-filename",),
    )
    chunked: bool = Property(
        False,
        name="Request Chunked Transfer-Encoding Enabled",
        description="Send the body in chunks, without telling its length before.",
        formerly=("Use Chunked Encoding",),
    )
    encoding: Encoding = Property(
        Encoding.DISABLED,
        name="Request Content-Encoding",
        description="How the body is encoded.",
        formerly=("Content-Encoding",),
    )
    content_type: Expression = Property(
        "${mime.type}",
        name="Request Content-Type",
        description="The body's type; application/octet-stream where it is empty.",
        formerly=("Content-Type",),
    )
    sends_date: bool = Property(
        True,
        name="Request Date Header Enabled",
        description="Send the header Date.",
        formerly=("Include Date Header",),
    )
    sent_attributes: Pattern | None = Property(
        None,
        name="Request Header Attributes Pattern",
        description="Attributes whose whole name this regular expression matches become headers.",
        formerly=("Attributes to Send",),
    )
    user_agent: Expression | None = Property(
        None,
        name="Request User-Agent",
        description="The header User-Agent; none is sent unless it is set.",
        formerly=("Useragent",),
    )
    body_attribute: Expression | None = Property(
        None,
        name="Response Body Attribute Name",
        description="Put the answer's body into this attribute of the request's flowfile, "
        "instead of making a flowfile of it.",
        formerly=("Put Response Body In Attribute",),
    )
    body_attribute_size: int = Property(
        256,
        name="Response Body Attribute Size",
        description="How many bytes of a body go into an attribute at most.",
        formerly=("Max Length To Put In Attribute",),
        ge=1,
        le=2**20,
    )
    ignores_body: bool = Property(
        False,
        name="Response Body Ignored",
        description="Do not read the answer's body.",
        formerly=("ignore-response-content",),
    )
    cookies: Cookies = Property(
        Cookies.DISABLED,
        name="Response Cookie Strategy",
        description="What becomes of cookies.",
        formerly=("cookie-strategy",),
    )
    always_responds: bool = Property(
        False,
        name="Response Generation Required",
        description="Make a flowfile of each answer, whatever its status.",
        formerly=("Always Output Response",),
    )
    naming: Naming = Property(
        Naming.RANDOM,
        name="Response FlowFile Naming Strategy",
        description="Where the answer's file name comes from.",
        formerly=("flow-file-naming-strategy",),
    )
    keeps_headers: bool = Property(
        False,
        name="Response Header Request Attributes Enabled",
        description="Put the answer's headers into attributes of the request's flowfile too.",
        formerly=("Add Response Headers to Request",),
    )
    header_prefix: Expression | None = Property(
        None,
        name="Response Header Request Attributes Prefix",
        description="What stands before the headers' names there.",
        depends_on={"Response Header Request Attributes Enabled": ("true", "True")},
    )
    redirects: bool = Property(
        True,
        name="Response Redirects Enabled",
        description=f"Follow redirects, up to {REDIRECTS_MAX}.",
        formerly=("Follow Redirects",),
    )

    @field_validator("url")
    @classmethod
    def _is_http(cls, value: Expression) -> Expression:
        if value.is_constant:
            parse_url(value.text)
        return value

    @field_validator("form_name")
    @classmethod
    def _sends_body(cls, value: Expression | None, info: ValidationInfo) -> Expression | None:
        if value is not None and not info.data.get("sends_body", True):
            raise ValueError("is set; then Request Body Enabled must be true")
        return value

    @model_validator(mode="after")
    def _dynamic_ones(self) -> InvokeProperties:
        has_form = False
        for name in self.dynamic:
            if name.startswith(FORM_PREFIX):
                has_form = True
            else:
                check_header_name(name)
        if has_form and self.sends_body and self.form_name is None:
            raise ValueError(
                f"there are properties '{FORM_PREFIX}...', so Request Multipart Form-Data Name "
                "must be set, or Request Body Enabled be false"
            )
        return self


def parse_url(text: str) -> URL:
    """Take a URL as it is, without encoding anything anew.

    Raises:
        ValueError: it is none that can be requested.
    """
    try:
        url = URL(text, encoded=True)
        port = url.port
    except ValueError as error:
        raise ValueError(f"is '{redact_url(text)}', which is no URL: {error}") from error
    if url.scheme not in ("http", "https") or not url.host or not port:
        raise ValueError(
            f"is '{redact_url(text)}'; it must be a URL such as https://example.org/path"
        )
    return url
