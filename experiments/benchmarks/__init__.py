"""The benchmark: tasks, one worker process per library, tables."""
