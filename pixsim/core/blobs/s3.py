"""Blobs in an S3 bucket, for workers on many machines."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

from botocore.exceptions import BotoCoreError, ClientError
from storages.backends.s3 import S3Storage

from pixsim.core.blobs import BlobStorageError, BlobStorageFull, is_key

NOT_FOUND, INSUFFICIENT_STORAGE = 404, 507
YOUNG = timedelta(minutes=2)
"""Below this age an object is not written again; less than the least grace of the orphan sweep."""


class S3BlobStorage(S3Storage):
    """S3 shows an object only when it is complete, so there are no temporary names here."""

    # Mutators

    def put_bytes(self, key: str, data: bytes) -> None:
        """Store `data` under `key` unless an object of the same size is there and young.

        An older one is written again, which makes it young: the sweep of orphans spares those.
        One request instead of the transfer manager's thread pool: blobs are small.
        Raises BlobStorageFull or BlobStorageError.
        """
        name = self._normalize_name(key)
        try:
            if self._is_there(name, len(data)):
                return
            self.connection.meta.client.put_object(
                Bucket=self.bucket_name, Key=name, Body=data, **self._get_write_parameters(name)
            )
        except (BotoCoreError, ClientError) as exc:
            raise self._in_words(exc, name) from exc

    def _is_there(self, name: str, size: int) -> bool:
        try:
            head = self.connection.meta.client.head_object(Bucket=self.bucket_name, Key=name)
        except ClientError as exc:
            if exc.response["ResponseMetadata"]["HTTPStatusCode"] == NOT_FOUND:
                return False
            raise
        young = datetime.now(UTC) - head["LastModified"] < YOUNG
        return bool(young and head["ContentLength"] == size)

    def _in_words(self, exc: BotoCoreError | ClientError, name: str) -> BlobStorageError:
        response = getattr(exc, "response", {})
        if response.get("ResponseMetadata", {}).get("HTTPStatusCode") == INSUFFICIENT_STORAGE:
            return BlobStorageFull(
                f"No space left in bucket {self.bucket_name}: {name} was not stored. "
                "What was stored before is intact."
            )
        return BlobStorageError(f"Cannot store {name} in bucket {self.bucket_name}: {exc}")

    # Queries

    def iter_keys(self) -> Iterator[tuple[str, datetime]]:
        """Every blob and when it was last written, in the order of the keys."""
        prefix = f"{self.location}/" if self.location else ""
        for item in self.bucket.objects.filter(Prefix=prefix):
            key = item.key.removeprefix(prefix)
            if is_key(key):
                yield key, item.last_modified

    def iter_temporaries(self, *, older_than: timedelta) -> Iterator[str]:
        """None: a killed upload leaves no object."""
        return iter(())
