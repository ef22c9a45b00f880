"""What a failure of S3 means to the caller."""

from __future__ import annotations

from boto3.exceptions import Boto3Error  # type: ignore[import-untyped] # ships no types
from botocore import exceptions as boto  # type: ignore[import-untyped]

from topicledger.errors import IntegrityError, RetriableError, SettingsError, TopicLedgerError

_A_PERSON_FIXES = {
    "AccessDenied",
    "AccountProblem",
    "AllAccessDisabled",
    "AuthorizationHeaderMalformed",
    "ExpiredToken",
    "InvalidAccessKeyId",
    "InvalidBucketName",
    "InvalidClientTokenId",
    "InvalidToken",
    "MethodNotAllowed",
    "NoSuchBucket",
    "NotImplemented",
    "PermanentRedirect",
    "SignatureDoesNotMatch",
    "ValidationError",
}
_SETTINGS = (
    boto.NoCredentialsError,
    boto.PartialCredentialsError,
    boto.CredentialRetrievalError,
    boto.ProfileNotFound,
    boto.NoRegionError,
    boto.InvalidRegionError,
    boto.ParamValidationError,
    boto.ConfigNotFound,
    boto.SSLError,
)


def code_of(error: boto.ClientError) -> str:
    """S3's own code, such as `NoSuchKey`; of an answer without a body its HTTP status."""
    return str(error.response.get("Error", {}).get("Code", ""))


def failed(error: Exception, where: str) -> TopicLedgerError:
    """Translate a failed request.

    Args:
        error: What boto3 raised.
        where: Connection, place and what was being done.
    """
    # What uploads files hides the client's own error behind one of its own.
    cause = error.__context__ if isinstance(error, Boto3Error) and error.__context__ else error
    if isinstance(cause, boto.ClientError):
        said = cause.response.get("Error", {}).get("Message", "")
        return _refused(code_of(cause), _status(cause), f"{where}: {code_of(cause)}: {str(said)[:300]}")
    text = f"{where}: {' '.join(str(error).split())[:300]}"
    if isinstance(cause, (*_SETTINGS, ValueError)):
        return SettingsError(
            f"{text}. Correct the connection: key, region, endpoint, bucket", code="s3-connection-invalid"
        )
    return RetriableError(f"{text}. Nothing was changed, or the ledger tells; try again", code="s3-unavailable")


def _refused(code: str, status: int, text: str) -> TopicLedgerError:
    if code in _A_PERSON_FIXES or status in (401, 403):
        return SettingsError(
            f"{text}. Correct the connection, or have s3:ListBucket, s3:GetObject, s3:PutObject and for staged files "
            "s3:DeleteObject granted",
            code="s3-access-denied",
        )
    if status >= 500 or status in (408, 409, 429) or code in ("SlowDown", "RequestTimeout", "RequestTimeTooSkewed"):
        return RetriableError(f"{text}. Nothing was changed, or the ledger tells; try again", code="s3-unavailable")
    return IntegrityError(
        f"{text}. Nothing was committed; look at the bucket and at what stands before it", code="s3-answer-unexpected"
    )


def _status(error: boto.ClientError) -> int:
    return int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
