"""Things that run until stopped: the engine of one process, its attempts and its loops."""
