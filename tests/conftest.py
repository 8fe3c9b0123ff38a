"""Everything the tests share lives in `support`; nested pytest runs load the same plugin."""

pytest_plugins = ("support.plugin",)
