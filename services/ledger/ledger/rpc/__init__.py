"""The ledger's services over gRPC: translates between messages and use cases, nothing else."""

from ledger.rpc.ledger import LedgerRpc
from ledger.rpc.loads import LoadRpc

__all__ = ["LedgerRpc", "LoadRpc"]
