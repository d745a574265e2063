"""Real brokers for the tests: where they come from, and who ends them. The way through it: session → keeper → providers → recipes.

A session of tests has one keeper (keeper.py), a process that starts brokers when asked and stops them when the last of
those that asked is gone, however it went. A broker is the one a URL names, or a container, or processes of this machine
(providers.py); what is particular to RabbitMQ or Kafka stands in its recipe.
"""
