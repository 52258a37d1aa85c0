"""The import service's RPCs: translation, and nothing else."""

from importer.rpc.documents import DocumentRpc
from importer.rpc.imports import ImportRpc
from importer.rpc.profiles import ProfileRpc
from importer.rpc.sources import SourceRpc
from importer.rpc.uploads import UploadRpc

__all__ = ["DocumentRpc", "ImportRpc", "ProfileRpc", "SourceRpc", "UploadRpc"]
