"""The Console: pages for people, over the same rooms as the command line and the management API."""
