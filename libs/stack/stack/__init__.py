"""The one-machine runner: embedded servers, keys, processes, mail sink and the sample group behind `make up`."""
