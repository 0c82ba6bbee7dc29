"""For those who test their own handlers."""
