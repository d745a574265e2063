"""The gate: contracts compared with a registry or a git revision, before anything is deployed."""
