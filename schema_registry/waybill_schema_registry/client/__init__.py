"""A registry as its users hold it: in this process or over HTTP, asynchronous or not."""
