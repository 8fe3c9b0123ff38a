"""The command line: commands, arguments, tables and progress."""
