"""Doors for files: an SFTP and an FTPS server with a folder per source, and what their senders are told."""

from importer.channels.folders import Tree, channels_root
from importer.channels.inbox import Inbox
from importer.channels.telling import host_key_of, told

__all__ = ["Inbox", "Tree", "channels_root", "host_key_of", "told"]
