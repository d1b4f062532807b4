"""The engine: flowfiles, content, the commit log, sessions, queues, scheduling, the flow."""
