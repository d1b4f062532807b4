"""The processors and controller services that come with Levada, one module a family."""
